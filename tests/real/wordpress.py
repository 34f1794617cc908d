"""A real WordPress from Debian's packages: MariaDB on a socket of its own, PHP's built-in server on loopback.

Everything lies in one folder and is gone after `close`; nothing of the machine's own configuration is touched.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import httpx

HERE = Path(__file__).parent
PROGRAM = Path("/usr/share/wordpress")
PACKAGES = (
    "wordpress",
    "wordpress-theme-twentytwentythree",
    "mariadb-server-core",  # the server without the service
    "mariadb-client-core",
    "php-cli",
    "php-mysql",
    "php-xml",
    "php-mbstring",
    "php-curl",
    "php-gd",
    "php-intl",
)


class Missing(Exception):
    """WordPress is not there and cannot be installed; the message says what to do."""


def ensure_packages() -> bool:
    """Install the Debian packages if one is missing; returns whether anything was installed. Needs root then."""
    if PROGRAM.is_dir() and shutil.which("php") and shutil.which("mariadbd"):
        return False
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Missing(
            f"WordPress is missing; as root: apt-get install --no-install-recommends {' '.join(PACKAGES)}"
        )
    # RUNLEVEL=1: Debian then starts none of the services that come along
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    subprocess.run(["apt-get", "update", "-qq"], check=True, env=environment)
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Missing(f"apt-get could not install WordPress: {done.stderr[-500:]}")
    return True


def free_port() -> int:
    """A port on loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(what: str, ready: object, seconds: float = 60) -> None:
    """Wait until the callable `ready` is true; TimeoutError names `what`."""
    assert callable(ready)
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)


class WordPress:
    """A running WordPress. `base` is its address; `publish` writes a post through its REST API."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = f"http://127.0.0.1:{free_port()}"
        self._children: list[subprocess.Popen[bytes]] = []
        self._password = ""
        self._root = folder / "wordpress"
        self._socket = folder / "db.sock"
        try:
            self._start_database()
            self._install()
            self._start_php()
        except BaseException:
            self.close()
            raise
        self._api = httpx.Client(base_url=self.base, auth=("editor", self._password), timeout=30)

    def _start_database(self) -> None:
        data = self.folder / "db"
        user = "--user=root" if os.geteuid() == 0 else f"--user={os.environ.get('USER', 'nobody')}"
        subprocess.run(
            [
                "mariadb-install-db",
                "--no-defaults",
                user,
                f"--datadir={data}",
                "--auth-root-authentication-method=normal",
            ],
            check=True,
            capture_output=True,
        )
        server = [
            "mariadbd",
            "--no-defaults",
            user,
            f"--datadir={data}",
            f"--socket={self._socket}",
            f"--pid-file={self.folder / 'db.pid'}",
            "--skip-networking",
            "--innodb-flush-log-at-trx-commit=0",
            "--character-set-server=utf8mb4",
        ]
        self._spawn(server, "mariadb.log")
        ask = ["mariadb-admin", "--no-defaults", f"--socket={self._socket}", "-uroot", "ping"]
        wait_for("MariaDB", lambda: subprocess.run(ask, capture_output=True, check=False).returncode == 0)
        subprocess.run(
            [
                "mariadb",
                "--no-defaults",
                f"--socket={self._socket}",
                "-uroot",
                "-e",
                "CREATE DATABASE wordpress",
            ],
            check=True,
        )

    def _install(self) -> None:
        # a copy: WordPress looks for its configuration beside its own files. Debian's links are followed.
        shutil.copytree(
            PROGRAM, self._root, ignore=shutil.ignore_patterns("wp-config.php"), ignore_dangling_symlinks=True
        )
        salts = "".join(
            f"define('{name}', '{secrets.token_hex(32)}');\n"
            for name in ("AUTH_KEY", "SECURE_AUTH_KEY", "LOGGED_IN_KEY", "NONCE_KEY")
        )
        (self._root / "wp-config.php").write_text(
            "<?php\n"
            "define('DB_NAME', 'wordpress');\ndefine('DB_USER', 'root');\ndefine('DB_PASSWORD', '');\n"
            f"define('DB_HOST', 'localhost:{self._socket}');\ndefine('DB_CHARSET', 'utf8mb4');\ndefine('DB_COLLATE', '');\n"
            f"{salts}"
            "$table_prefix = 'wp_';\n"
            "define('WP_HTTP_BLOCK_EXTERNAL', true);\ndefine('DISABLE_WP_CRON', true);\n"
            "define('AUTOMATIC_UPDATER_DISABLED', true);\ndefine('WP_DEBUG', false);\n"
            "define('WP_ENVIRONMENT_TYPE', 'local');\n"  # application passwords without TLS
            "if (!defined('ABSPATH')) { define('ABSPATH', __DIR__ . '/'); }\n"
            "require_once ABSPATH . 'wp-settings.php';\n"
        )
        shutil.copy(HERE / "install.php", self._root / "install-once.php")
        done = subprocess.run(
            ["php", "-d", "error_reporting=0", str(self._root / "install-once.php"), self.base],
            capture_output=True,
            text=True,
            check=False,
            cwd=self._root,
        )
        (self._root / "install-once.php").unlink()
        if done.returncode != 0 or not done.stdout.strip():
            raise RuntimeError(f"WordPress was not installed: {done.stdout[-500:]} {done.stderr[-500:]}")
        self._password = done.stdout.strip().splitlines()[-1]

    def _start_php(self) -> None:
        address = self.base.removeprefix("http://")
        self._spawn(
            ["php", "-S", address, "-t", str(self._root), str(HERE / "router.php")],
            "php.log",
            {"PHP_CLI_SERVER_WORKERS": "4", "ACCESS_LOG": str(self.folder / "access.log")},
        )

        def answers() -> bool:
            try:
                return httpx.get(f"{self.base}/feed/", timeout=20).status_code == 200
            except httpx.TransportError:
                return False

        wait_for("WordPress", answers)

    def _spawn(self, command: Sequence[str], log: str, extra: dict[str, str] | None = None) -> None:
        with (self.folder / log).open("ab") as out:
            self._children.append(
                subprocess.Popen(
                    command,
                    stdout=out,
                    stderr=out,
                    stdin=subprocess.DEVNULL,
                    env=os.environ | (extra or {}),
                    start_new_session=True,
                )
            )

    def publish(self, title: str, text: str, at: datetime) -> int:
        """Publish a post through POST /wp-json/wp/v2/posts; returns its number."""
        answer = self._api.post(
            "/wp-json/wp/v2/posts",
            json={
                "title": title,
                "content": f"<p>{text}</p>",
                "status": "publish",
                "date_gmt": f"{at:%Y-%m-%dT%H:%M:%S}",
            },
        )
        answer.raise_for_status()
        number: int = answer.json()["id"]
        return number

    def requests(self) -> list[str]:
        """Method, address and status of every request so far."""
        return (self.folder / "access.log").read_text("utf-8", "replace").splitlines()

    def close(self) -> None:
        """Stop both servers by their own process groups."""
        for child in reversed(self._children):
            try:
                os.killpg(child.pid, 15)
            except ProcessLookupError:
                continue
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, 9)
                child.wait(5)
        self._children.clear()
