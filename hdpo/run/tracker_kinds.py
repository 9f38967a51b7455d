"""One class for each tracker: how a run's configuration, metrics, evaluations and samples get there."""

import html
import os
from abc import ABC, abstractmethod
from typing import Any

import yaml

from hdpo.study.study import Run

COLUMNS = ("kind", "problem", "role", "number", "reward", "kept", "prompt", "text")  # of a sample's table


class Tracker(ABC):
    """A run's page in one tracker."""

    @abstractmethod
    def __init__(self, run: Run, page: str, done: int) -> None:
        """Begin the page called `page`, or continue it after `done` steps; the configuration goes there."""

    @abstractmethod
    def metrics(self, step: int, values: dict[str, float]) -> None:
        """Numbers of one step."""

    @abstractmethod
    def samples(self, step: int, rows: list[dict[str, Any]]) -> None:
        """Rows of one sample, as `hdpo.run.samples_file` describes them."""

    @abstractmethod
    def close(self) -> None:
        """The run has ended or stopped; it may be continued."""


class TensorBoard(Tracker):
    """Event files in results/<study>/trackers/tensorboard/. What a kill has lost of a run is written again."""

    def __init__(self, run: Run, page: str, done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = run.study.root / "trackers" / "tensorboard" / page
        self.writer = SummaryWriter(str(folder), purge_step=done)
        self.writer.add_text("configuration", _verbatim(yaml.safe_dump(run.resolved, sort_keys=False)), done)

    def metrics(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def samples(self, step: int, rows: list[dict[str, Any]]) -> None:
        for kind in dict.fromkeys(row["kind"] for row in rows):
            shown = [{name: row[name] for name in COLUMNS[1:]} for row in rows if row["kind"] == kind]
            self.writer.add_text(f"samples/{kind}", _verbatim(yaml.safe_dump(shown, sort_keys=False)), step)

    def close(self) -> None:
        self.writer.close()


class Logged(Tracker):
    """What wandb and trackio share: a run that logs, and a table for samples."""

    run: Any
    table: Any

    def metrics(self, step: int, values: dict[str, float]) -> None:
        self.run.log(values, step=step)

    def samples(self, step: int, rows: list[dict[str, Any]]) -> None:
        data = [[row[name] for name in COLUMNS] for row in rows]
        self.run.log({"samples": self.table(columns=list(COLUMNS), data=data)}, step=step)

    def close(self) -> None:
        self.run.finish()


class WeightsAndBiases(Logged):
    """A run of wandb. Where nobody is logged in or the server is not reached, it is kept offline, for `wandb sync`."""

    def __init__(self, run: Run, page: str, done: int) -> None:
        import wandb

        folder = run.study.root / "trackers"
        folder.mkdir(parents=True, exist_ok=True)
        mode = os.environ.get("WANDB_MODE") or ("online" if wandb.setup().settings.api_key else "offline")
        options: dict[str, Any] = {
            "project": os.environ.get("WANDB_PROJECT") or f"hdpo-{run.study.name}",
            "id": page,
            "name": f"{run.name} seed {run.seed}",
            "group": run.name,
            "config": run.resolved,
            "allow_val_change": True,  # train.steps, once it is raised
            "resume": "allow",
            "dir": str(folder),
            "settings": wandb.Settings(init_timeout=20, console="off", silent=True),
        }
        self.table = wandb.Table
        try:
            self.run = wandb.init(mode=mode, **options)
        except Exception:
            if mode == "offline":
                raise
            wandb.teardown()  # or the page counts as in use
            self.run = wandb.init(mode="offline", **options)


class Trackio(Logged):
    """A run of trackio in its local store, or in the space or on the server that its environment variables name."""

    def __init__(self, run: Run, page: str, done: int) -> None:
        import trackio

        self.table = trackio.Table
        self.run = trackio.init(
            project=f"hdpo-{run.study.name}",
            name=page,
            group=run.name,
            config=run.resolved,
            resume="allow",
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )


KINDS: dict[str, type[Tracker]] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases, "trackio": Trackio}


def _verbatim(text: str) -> str:
    """Text that Markdown shows as it is: a block of code, indented, which nothing inside can end."""
    return "\n".join("    " + html.escape(line, quote=False) for line in text.splitlines())
