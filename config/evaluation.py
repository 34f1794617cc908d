"""Settings of response evaluation: weights, bands and thresholds, checked whole when they are read."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

#: the ten indicators, in the order of pages: 及时性, 报告及时, 诉求覆盖, 相关性, 完整性, 可解释性, 态度与得体, 持续发布与承诺兑现,
#: 解决与满意, 舆情走势
INDICATORS = ("T", "RP", "C", "R", "F", "E", "A", "U", "V", "O")


class EvaluationSettings(BaseModel):
    """Evaluating the response 效果评估: weights, bands and thresholds. All are proposals of ours, none stands in a law."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: dict[str, float] = Field(
        {
            "T": 0.20,
            "RP": 0.05,
            "C": 0.15,
            "R": 0.10,
            "F": 0.15,
            "E": 0.05,
            "A": 0.05,
            "U": 0.10,
            "V": 0.10,
            "O": 0.05,
        },
        description="Weight of each indicator; they add up to 1. O stays low, so that nobody is paid for silence.",
    )
    min_weight: float = Field(
        0.60,
        gt=0,
        le=1,
        description="Share of the weights that must be computable for a total; below it says 不评定.",
    )
    bands: tuple[float, float, float] = Field(
        (0.85, 0.70, 0.55), description="Lower ends of 良好, 合格 and 待改进; below the last one is 不合格."
    )
    report_rules: tuple[str, ...] = Field(
        (),
        description="Rules whose clocks are duties to report inside the administration (RP, ground 报告不及时). None of the packaged rules is one: the notice gives no hours, and R11 binds businesses.",
    )
    order_grace_h: float = Field(
        24.0,
        gt=0,
        le=720,
        description="Hours after an approved supervision order (L3) in which the overdue duty has to be done; the draft of the order gives a day.",
    )
    repeat_calls: int = Field(
        3,
        ge=2,
        le=100,
        description="So many calls that say 'not solved' are 反复未解决, a reason of 处置不力.",
    )
    broken_promises: int = Field(
        2, ge=1, le=100, description="So many broken promises are a reason of 处置不力."
    )
    reviewers: int = Field(
        2,
        ge=2,
        le=20,
        description="Named people who must find an answer improper on the same point of the rubric; never a model.",
    )
    template_of: int = Field(
        5, ge=1, le=1000, description="An answer nearly the same as so many others is a template answer."
    )
    explained_by: int = Field(
        3, ge=1, le=20, description="So many citations, figures and dates make an answer fully explained (E)."
    )
    update_gap_h: float = Field(
        24.0,
        gt=0,
        le=720,
        description="Hours between two publications in a major or critical matter until an update is missing (U).",
    )
    min_cases: int = Field(
        10,
        ge=2,
        le=1000,
        description="Cases that a department needs for a total; call-backs for V; matters rated by several people for their agreement.",
    )
    min_posts: int = Field(
        10,
        ge=2,
        le=10_000,
        description="Judged posts on each side of an answer for the trend of opinion (O).",
    )
    max_deleted: float = Field(
        0.20,
        ge=0,
        le=1,
        description="Above this share of posts that are no longer there the trend counts for nothing: quiet by deletion is no effect.",
    )
    min_matched: int = Field(
        5, ge=3, le=200, description="Unanswered matters of the same kind that a comparison needs."
    )
    match_size: float = Field(
        2.0,
        gt=1,
        le=10,
        description="A matched matter has between 1/x and x times as many posts at the same age, and in the day before.",
    )
    bootstrap: int = Field(1000, ge=200, le=20_000, description="Resamples of authors behind an interval.")

    @model_validator(mode="after")
    def _fits(self) -> EvaluationSettings:
        if tuple(sorted(self.weights)) != tuple(sorted(INDICATORS)):
            raise ValueError(f"weights: exactly {', '.join(INDICATORS)} are expected")
        if any(weight < 0 for weight in self.weights.values()):
            raise ValueError("weights: none may be negative")
        if abs(sum(self.weights.values()) - 1) > 1e-6:
            raise ValueError(f"weights: they add up to {sum(self.weights.values()):.4g}, expected 1")
        if not 1 >= self.bands[0] > self.bands[1] > self.bands[2] >= 0:
            raise ValueError("bands: three falling numbers between 1 and 0 are expected")
        return self
