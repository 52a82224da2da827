"""Tasks in a row of rising difficulty, each begun when the one before is mastered."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor
from torch.nn import functional

from neuro.encoding.readouts import last_membrane
from neuro.errors import InputError, unknown_name
from neuro.training.batches import epoch_seed
from neuro.training.checkpoint import SECTION, AtomicCheckpointIO, check_architecture, read_checkpoint
from neuro.training.optimizer import parameter_groups
from neuro.training.rules import Rule, choose_rule

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["HEADS", "Curriculum", "Lesson", "Promotion", "Task", "teach"]

HEADS = ("single", "multi", "sliding")


class Task(Protocol):
    """Makes a batch of fresh samples; :data:`neuro.datasets.memory_tasks.MEMORY_TASKS` holds some."""

    def __call__(self, stages: Sequence[int], batch: int, /, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Input ``[T, B, ...]`` and the class for each of ``stages``, ``[B, stages]`` int64."""
        ...


@dataclass(frozen=True)
class Curriculum:
    """Stages of rising difficulty, each with a head of its own, and which heads are asked at each.

    ``"single"`` asks the newest head alone, what came before may be forgotten; ``"multi"`` asks all heads so far;
    ``"sliding"`` the newest ``window`` of them. Khajehabdollahi et al. 2024, "Emergent mechanisms for long timescales
    depend on training curriculum and affect performance in memory tasks" (ICLR; 0.98, a window of 10).

    Args:
        stages: the difficulties in order, as the task knows them: the N of N-parity.
        heads: which heads are asked, one of :data:`HEADS`.
        promote_at: the next stage begins when the newest head's accuracy and the mean of all that are asked are above it.
        window: heads of ``"sliding"``.

    Raises:
        InputError: no stage, or the same twice; an unknown name; a value out of range.

    >>> [Curriculum(range(2, 9), heads=kind, window=3).asked(4) for kind in HEADS]
    [(6,), (2, 3, 4, 5, 6), (4, 5, 6)]
    """

    stages: Sequence[int]
    heads: str = "multi"
    promote_at: float = 0.98
    window: int = 10

    def __post_init__(self) -> None:
        if not self.stages or len(set(self.stages)) != len(self.stages):
            raise InputError(f"stages={self.stages!r} must be one stage or more, each once")
        if self.heads not in HEADS:
            raise unknown_name("heads", str(self.heads), HEADS)
        if not 0 <= self.promote_at < 1:
            raise InputError(f"promote_at={self.promote_at!r} must be an accuracy from 0 to below 1")
        _need_whole("window", self.window)

    def asked(self, reached: int) -> tuple[int, ...]:
        """The stages whose heads are asked while ``stages[reached]`` is the newest."""
        first = {"single": reached, "multi": 0, "sliding": max(0, reached + 1 - self.window)}[self.heads]
        return tuple(self.stages[first : reached + 1])

    def promotes(self, accuracy: Sequence[float]) -> bool:
        """Whether these accuracies of the heads asked, the newest last, are enough for the next stage."""
        return min(accuracy[-1], math.fsum(accuracy) / len(accuracy)) > self.promote_at


@dataclass(frozen=True)
class Promotion:
    """Where the network stood when a stage was mastered.

    Args:
        stage: the newest stage.
        step: optimizer steps taken since the start.
        accuracy: of every head so far, asked or not: what is forgotten shows here.
        noted: what ``note`` said of the network.
    """

    stage: int
    step: int
    accuracy: tuple[float, ...]
    noted: Mapping[str, float]


@dataclass(frozen=True)
class Lesson:
    """How far a network came.

    Args:
        promotions: one for each stage mastered.
        steps: optimizer steps taken in all.
        finished: all stages are mastered.
        accuracy: of the newest head at each check, every ``check_every`` steps.
    """

    promotions: tuple[Promotion, ...]
    steps: int
    finished: bool
    accuracy: tuple[float, ...]


def teach(
    net: Network,
    task: Task,
    curriculum: Curriculum,
    *,
    budget: int,
    rule: str | Rule = "bptt",
    optimizer: torch.optim.Optimizer | None = None,
    readout: Callable[[Tensor], Tensor] = last_membrane,
    note: Callable[[Network], Mapping[str, float]] = lambda _net: {},
    batch_size: int = 256,
    clip: float = 2.0,
    check_every: int = 600,
    checked: int = 1000,
    seed: int = 0,
    output: str | Path | None = None,
    resume: bool = False,
) -> Lesson:
    """Train ``net`` in place on one stage after the other, each until its heads are right often enough.

    The output ``[T, B, C]`` is cut into one head of ``C / stages`` classes for each stage; the loss is the sum of the cross
    entropies of the heads asked. After every ``check_every`` steps the heads are tried on samples of their own, and
    :meth:`Curriculum.promotes` decides. The same arguments and network give the same weights, also where a run was
    killed and resumed. The caller's random numbers are untouched.

    Args:
        net: the network; it trains on the device its parameters are on.
        task: makes batches.
        curriculum: the stages.
        budget: optimizer steps at most, whole rounds of ``check_every``.
        rule: learning rule or its name in :data:`neuro.rules.RULES`; one that asks no more of the loss than its value.
        optimizer: over the parameters of ``net``; plain gradient descent with the paper's values unless given (rate 0.05,
            Nesterov momentum 0.1, no decay).
        readout: output ``[T, B, C]`` -> logits ``[B, C]``.
        note: called with the network at each promotion, for what is to be followed along the way.
        batch_size: sequences a step.
        clip: largest norm of the whole gradient.
        check_every: steps between checks.
        checked: sequences a check.
        seed: of samples and of whatever is random in the network.
        output: folder for ``curriculum.ckpt``, written at each check.
        resume: go on from it, with the same arguments (``budget`` may be larger).

    Raises:
        InputError: a value out of range; an output that does not divide into heads; a checkpoint that does not fit; a loss
            that is no longer finite.
        FileFormatError: the checkpoint is truncated or corrupt.

    >>> import neuro
    >>> from neuro.datasets.memory_tasks import parity
    >>> _ = torch.manual_seed(0)
    >>> net = neuro.Sequential(neuro.LeakyRNN(1, 32), neuro.Linear(32, 4))
    >>> lesson = teach(net, parity, Curriculum((1, 2)), budget=200, check_every=50, batch_size=32)
    >>> lesson.promotions[0].stage
    1
    """
    for name, value in (("budget", budget), ("batch_size", batch_size), ("check_every", check_every)):
        _need_whole(name, value)
    _need_whole("checked", checked)
    if not (math.isfinite(clip) and clip > 0):
        raise InputError(f"clip={clip!r} must be a finite number above 0")
    if resume and output is None:
        raise InputError("resume=True needs the output folder of the run to go on from")
    made = _descent(net) if optimizer is None else optimizer
    options = {"batch_size": batch_size, "clip": clip, "check_every": check_every, "checked": checked, "seed": seed}
    school = _School(net, task, curriculum, made, choose_rule(rule), readout, note, options)
    file = None if output is None else Path(output) / "curriculum.ckpt"
    if file is not None:
        _open(file, school, resume=resume)
    with isolate_rng():
        while not school.finished and school.steps + check_every <= budget:
            school.round()
            if file is not None:
                AtomicCheckpointIO().save_checkpoint({SECTION: school.state()}, file)
    return Lesson(tuple(school.promotions), school.steps, school.finished, tuple(school.accuracy))


def _descent(net: Network) -> torch.optim.Optimizer:
    groups = parameter_groups(net, lr=0.05, cell_lr=0.05, weight_decay=0.0)
    return torch.optim.SGD(groups, 0.05, momentum=0.1, nesterov=True)


def _open(file: Path, school: _School, *, resume: bool) -> None:
    if resume and file.exists():
        school.restore(read_checkpoint(file)[SECTION], file)
    elif file.exists():
        raise InputError(f"{file.parent} holds a run ({file.name}); set resume, or name another folder")
    file.parent.mkdir(parents=True, exist_ok=True)


@dataclass(frozen=True)
class _Heads:
    """Sum of the cross entropies of the heads asked: their ``places`` among ``count`` heads of equal width."""

    places: tuple[int, ...]
    count: int
    readout: Callable[[Tensor], Tensor]

    def logits(self, output: Tensor) -> Tensor:
        """``[T, B, C]`` to ``[B, places, classes]``."""
        read = self.readout(output)
        if read.shape[1] % self.count:
            raise InputError(
                f"the network puts out {read.shape[1]} values, which do not divide into {self.count} heads, one for each stage"
            )
        heads: Tensor = read.unflatten(1, (self.count, -1))
        return heads[:, list(self.places)]

    def __call__(self, output: Tensor, y: Tensor) -> Tensor:
        """A scalar; ``y`` is ``[B, places]``."""
        return functional.cross_entropy(self.logits(output).flatten(0, 1), y.flatten()) * len(self.places)


class _School:
    """A network, its curriculum, and how far it has come; every round is a function of what :meth:`state` holds."""

    def __init__(
        self,
        net: Network,
        task: Task,
        curriculum: Curriculum,
        optimizer: torch.optim.Optimizer,
        rule: Rule,
        readout: Callable[[Tensor], Tensor],
        note: Callable[[Network], Mapping[str, float]],
        options: Mapping[str, Any],
    ) -> None:
        self.net, self.task, self.curriculum, self.optimizer = net, task, curriculum, optimizer
        self.rule, self.readout, self.note, self.options = rule, readout, note, options
        self.steps = 0
        self.promotions: list[Promotion] = []
        self.accuracy: list[float] = []

    @property
    def finished(self) -> bool:
        return len(self.promotions) == len(self.curriculum.stages)

    def round(self) -> None:
        """Train for a while, then see whether the next stage may begin."""
        options, reached = self.options, len(self.promotions)
        seed = epoch_seed(options["seed"], self.steps)
        torch.manual_seed(seed)
        generator, asked = torch.Generator().manual_seed(seed), self.curriculum.asked(reached)
        for _ in range(options["check_every"]):
            self._step(asked, generator)
        right = self._right(asked, generator)
        self.accuracy.append(right[-1])
        if self.curriculum.promotes(right):
            so_far = tuple(self._right(tuple(self.curriculum.stages[: reached + 1]), generator))
            stage = self.curriculum.stages[reached]
            self.promotions.append(Promotion(stage, self.steps, so_far, dict(self.note(self.net))))

    def _heads(self, asked: Sequence[int]) -> _Heads:
        stages = list(self.curriculum.stages)
        return _Heads(tuple(stages.index(stage) for stage in asked), len(stages), self.readout)

    def _batch(self, asked: Sequence[int], size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        x, y = self.task(asked, size, generator=generator)
        like = next(self.net.parameters())
        return x.to(like), y.to(like.device)

    def _step(self, asked: Sequence[int], generator: torch.Generator) -> None:
        x, y = self._batch(asked, self.options["batch_size"], generator)
        self.optimizer.zero_grad()
        loss = float(self.rule.backward(self.net, x, y, self._heads(asked)).loss)
        self.steps += 1
        if not math.isfinite(loss):
            raise InputError(
                f"the loss is {loss} in step {self.steps}, stage {asked[-1]}; lower the optimizer's rates or clip "
                f"({self.options['clip']})"
            )
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.options["clip"])
        self.optimizer.step()

    @torch.no_grad()
    def _right(self, asked: Sequence[int], generator: torch.Generator) -> list[float]:
        """Accuracy of each head."""
        x, y = self._batch(asked, self.options["checked"], generator)
        found = self._heads(asked).logits(self.net(x)[0]).argmax(2)
        share: list[float] = (found == y).double().mean(0).tolist()
        return share

    def state(self) -> dict[str, Any]:
        """Everything the next round depends on, in plain values and tensors."""
        return {
            "definition": self.net.definition(),
            "best_weights": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "curriculum": asdict(self.curriculum) | {"stages": list(self.curriculum.stages)},
            "options": dict(self.options) | {"rule": repr(self.rule)},
            "steps": self.steps,
            "promotions": [asdict(row) for row in self.promotions],
            "accuracy": self.accuracy,
        }

    def restore(self, saved: Mapping[str, Any], file: Path) -> None:
        """Take over from a checkpoint's own section."""
        check_architecture(self.net, saved, file)
        here = self.state()
        for part in ("curriculum", "options"):
            for name, value in here[part].items():
                if (then := saved[part][name]) != value:
                    raise InputError(
                        f"{file.parent} was trained with {name}={then!r}, not {value!r}; resume with the same, or start "
                        "anew in another folder"
                    )
        self.net.load_state_dict(saved["best_weights"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.steps, self.accuracy = saved["steps"], list(saved["accuracy"])
        self.promotions = [Promotion(**row) for row in saved["promotions"]]


def _need_whole(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name}={value!r} must be a whole number, at least 1")
