"""A step type of the benchmarks, for hosts in processes of their own."""

from pathlib import Path

from steps.contract import StepType


def plugin(folder: Path, kind: type[StepType]) -> Path:
    """A folder that looks like an installed distribution which brings this step type."""
    info = folder / "site" / f"{kind.type}_step-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {kind.type}-step\nVersion: 1.0\n", "utf-8"
    )
    (info / "entry_points.txt").write_text(
        f"[job_scheduler.steps]\n{kind.type} = {kind.__module__}:{kind.__name__}\n", "utf-8"
    )
    return info.parent
