"""Fills a django-spirit through its own models; runs inside its virtual environment: `python spirit_seed.py < topics.json`.

Input: [{"title", "topic": number of a topic that is there or null, "posts": [{"user", "text", "at"}]}].
Output: the numbers of the topics, one JSON list.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime

import django  # type: ignore[import-not-found]

django.setup()

from django.contrib.auth import get_user_model  # type: ignore[import-not-found]  # noqa: E402
from django.db import transaction  # type: ignore[import-not-found]  # noqa: E402
from spirit.category.models import Category  # type: ignore[import-not-found]  # noqa: E402
from spirit.comment.models import Comment  # type: ignore[import-not-found]  # noqa: E402
from spirit.core.utils.markdown import Markdown  # type: ignore[import-not-found]  # noqa: E402
from spirit.topic.models import Topic  # type: ignore[import-not-found]  # noqa: E402


def main() -> None:
    """Write every topic and post of the input."""
    users = {user.username: user for user in get_user_model().objects.all()}

    def user(name: str) -> object:
        if name not in users:
            users[name] = get_user_model().objects.create_user(
                name, f"{name}@example.invalid", "not a secret"
            )
        return users[name]

    category, _ = Category.objects.get_or_create(title="民生版")
    numbers = []
    with transaction.atomic():
        for given in json.load(sys.stdin):
            first = given["posts"][0]
            topic = (
                Topic.objects.get(pk=given["topic"])
                if given.get("topic")
                else Topic.objects.create(
                    title=given["title"], category=category, user=user(first["user"]), date=first["at"]
                )
            )
            for post in given["posts"]:
                Comment.objects.create(
                    topic=topic,
                    user=user(post["user"]),
                    comment=post["text"],
                    comment_html=Markdown().render(post["text"]),
                    date=datetime.fromisoformat(post["at"]),
                )
            topic.comment_count += len(given["posts"])
            topic.last_active = max(datetime.fromisoformat(post["at"]) for post in given["posts"])
            topic.save()
            numbers.append(topic.pk)
    sys.stdout.write(json.dumps(numbers))


main()
