"""Memory in sparse distributed codes: similar inputs get similar codes, one look is enough to store."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neuro.errors import InputError

__all__ = ["SparseMemory", "SparseRecall"]


@dataclass(frozen=True, eq=False)
class SparseRecall:
    """What a sequence did to a :class:`SparseMemory`.

    Args:
        codes: ``[T, modules]`` int64, the winner of each module in each step.
        familiarity: ``[T]``, G, from 0 (nothing of it was seen) to 1 (seen before).
    """

    codes: Tensor
    familiarity: Tensor


class SparseMemory:
    """Codes of one winner in each of Q modules of K binary units, chosen with noise where the input is new.

    The code selection algorithm of Rinkus, "A cortical sparse distributed coding model linking mini- and macrocolumn-scale
    functionality" (Frontiers in Neuroanatomy 2010) and "Sparsey: event recognition via deep hierarchical sparse
    distributed codes" (Frontiers in Computational Neuroscience 2014). A unit's support by the input is the share u of active
    inputs that have their weight to it set, and from the second step on by the code before the share h of its winners; they
    multiply to ``V = u h``. Familiarity G is the mean over modules of the largest V, and makes the choice sharp:

    ``psi = 1 + eta / (1 + exp(-slope (V - middle)))``, ``eta = gain max(0, (G - floor) / (1 - floor))^power``;

    each module draws one winner with a probability in proportion to psi. Something new (G near 0) gets a random code,
    something known its own, and what lies between a code that shares the more winners the more alike it is. To store is to
    set the weights from active inputs, and from the code before, to the winners: one look, at a cost that does not
    depend on how much is stored. The binary weights fill up (:attr:`fill`); then new inputs look known and take over
    codes of others.

    Args:
        inputs: number of binary inputs.
        modules: Q.
        units: K, units in each module.
        gain: of the sigmoid at full familiarity; large, so that what is known is (nearly) certain.
        power: how late familiarity sharpens the choice.
        floor: familiarity up to which a code is random.
        slope, middle: of the sigmoid over V, without unit.
        seed: of the draws.

    Attributes:
        weight: ``[modules, units, inputs]`` of 0 and 1 (bool).
        recurrent: ``[modules, units, modules, units]``, from the code before.

    Raises:
        InputError: a size below 1 (units: 2); options out of range.

    >>> memory = SparseMemory(12, modules=8, units=4, seed=1)
    >>> seen = torch.tensor([[1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]])
    >>> stored = memory.store(seen)
    >>> again = memory.recall(seen)
    >>> torch.equal(stored.codes, again.codes), float(stored.familiarity), float(again.familiarity)
    (True, 0.0, 1.0)
    """

    def __init__(
        self,
        inputs: int,
        *,
        modules: int = 24,
        units: int = 16,
        gain: float = 1000.0,
        power: float = 2.0,
        floor: float = 0.1,
        slope: float = 20.0,
        middle: float = 0.7,
        seed: int = 0,
    ) -> None:
        for name, size, least in (("inputs", inputs, 1), ("modules", modules, 1), ("units", units, 2)):
            if not isinstance(size, int) or isinstance(size, bool) or size < least:
                raise InputError(f"{name} must be a whole number from {least} on, got {size!r}")
        for name, value in (("gain", gain), ("power", power), ("slope", slope)):
            if not 0 < value < math.inf:
                raise InputError(f"{name} must be above 0 and finite, got {value}")
        if not (0 <= floor < 1 and 0 <= middle <= 1):
            raise InputError(f"floor must be from 0 to below 1 and middle from 0 to 1, got {floor} and {middle}")
        self.inputs, self.modules, self.units = inputs, modules, units
        self.gain, self.power, self.floor, self.slope, self.middle = gain, power, floor, slope, middle
        self.weight = torch.zeros(modules, units, inputs, dtype=torch.bool)
        self.recurrent = torch.zeros(modules, units, modules, units, dtype=torch.bool)
        self._generator = torch.Generator().manual_seed(seed)

    @property
    def fill(self) -> float:
        """Share of the weights from inputs that are set; near 1 nothing new is told from the stored any more."""
        return float(self.weight.float().mean())

    def store(self, x: Tensor) -> SparseRecall:
        """Give each step of a sequence a code, and learn it at once.

        Args:
            x: ``[T, inputs]`` of 0 and 1; a single pattern has T = 1.

        Raises:
            InputError: another shape; other values; a step without an active input.
        """
        return self._follow(self._active(x), learn=True)

    def recall(self, x: Tensor, *, steps: int | None = None) -> SparseRecall:
        """The codes that a sequence brings back, without noise and without learning.

        Args:
            x: ``[T, inputs]`` of 0 and 1: the whole sequence, or its first steps as a cue.
            steps: steps to go on for; after those of ``x`` the code before alone chooses the next.

        Raises:
            InputError: as :meth:`store`; ``steps`` below T.
        """
        cue = self._active(x)
        if steps is not None and steps < len(cue):
            raise InputError(f"steps must be at least the {len(cue)} of the cue, got {steps}")
        return self._follow([*cue, *[None] * ((steps or len(cue)) - len(cue))], learn=False)

    def inputs_of(self, codes: Tensor) -> Tensor:
        """What the winners of each code stand for, ``[T, inputs]`` from 0 to 1: the share of them that an input has set.

        Args:
            codes: ``[T, modules]`` int64.
        """
        return self.weight[torch.arange(self.modules), codes].float().mean(1)

    def _follow(self, steps: Sequence[Tensor | None], *, learn: bool) -> SparseRecall:
        before: Tensor | None = None
        codes, familiarity = [], []
        for active in steps:
            support = self._support(active, before)
            known = float(support.amax(1).mean())
            code = self._draw(support, known) if learn else support.argmax(1)
            if learn and active is not None:
                self._learn(code, active, before)
            codes.append(code)
            familiarity.append(known)
            before = code
        return SparseRecall(torch.stack(codes), torch.tensor(familiarity))

    def _support(self, active: Tensor | None, before: Tensor | None) -> Tensor:
        """V of every unit, ``[modules, units]``."""
        support = torch.ones(self.modules, self.units)
        if active is not None:
            support = self.weight[:, :, active].float().mean(2)
        if before is not None:
            support = support * self.recurrent[:, :, torch.arange(self.modules), before].float().mean(2)
        return support

    def _draw(self, support: Tensor, known: float) -> Tensor:
        eta = self.gain * max(0.0, (known - self.floor) / (1 - self.floor)) ** self.power
        psi = 1 + eta * torch.sigmoid(self.slope * (support - self.middle))
        return torch.multinomial(psi, 1, generator=self._generator).squeeze(1)

    def _learn(self, code: Tensor, active: Tensor, before: Tensor | None) -> None:
        every = torch.arange(self.modules)
        self.weight[every.unsqueeze(1), code.unsqueeze(1), active] = True
        if before is not None:
            self.recurrent[every.unsqueeze(1), code.unsqueeze(1), every, before] = True

    def _active(self, x: Tensor) -> list[Tensor]:
        """Numbers of the active inputs of each step."""
        if x.dim() != 2 or x.shape[1] != self.inputs or len(x) < 1:
            raise InputError(f"x must be [T, {self.inputs}], T at least 1, got {list(x.shape)}")
        if not bool(((x == 0) | (x == 1)).all()):
            raise InputError("x must hold 0 and 1 only; compare it with a threshold first")
        on = x != 0
        if not bool(on.any(1).all()):
            raise InputError(f"step {int((~on.any(1)).nonzero()[0])} has no active input; leave it out")
        return [row.nonzero().squeeze(1) for row in on]
