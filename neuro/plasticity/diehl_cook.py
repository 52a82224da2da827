"""Classes of pictures found without labels, by neurons that compete and learn by spike timing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from tqdm import tqdm

from neuro.errors import InputError, unknown_name
from neuro.kernels.plasticity.competition import compete
from neuro.kernels.plasticity.competition_law import CompetitionLaw

__all__ = ["VOTES", "DiehlCook", "Vote"]


Vote = Literal["weighted", "standard"]
VOTES: tuple[Vote, ...] = ("weighted", "standard")
_CHUNK = 100  # pictures between two moves of the progress bar


class DiehlCook(nn.Module):
    """Neurons that each come to stand for a kind of picture, by spike-timing-dependent plasticity alone.

    Diehl and Cook, "Unsupervised learning of digit recognition using spike-timing-dependent plasticity", Frontiers
    in Computational Neuroscience 2015; equations and constants: :class:`CompetitionLaw`. :meth:`fit` sees
    pictures only; :meth:`assign` then counts what each neuron answers to labelled pictures (the ones it learned from
    will do), and :meth:`predict` lets the neurons vote.

    All that is drawn, weights, order of pictures and input spikes, is a function of ``seed``, and how far
    learning has come is part of the state: a network that is stored between two calls of :meth:`fit` goes on as if
    it had not been.

    Args:
        inputs: pixels of a picture.
        neurons: that compete.
        law: neurons, input and plasticity.
        seed: a whole number that 64 bits hold.

    Attributes:
        weight: ``[inputs, neurons]``, conductances in units of the leak's.
        theta: ``[neurons]``, what their activity has added to the thresholds, in volts.
        shown: how many pictures have been learned from (int64).
        responses: ``[neurons, classes]``, mean number of spikes for a picture of a class; no classes before :meth:`assign`.

    Raises:
        InputError: no inputs or neurons; a sum of weights that bounded weights cannot reach.

    >>> pictures = torch.eye(2).repeat_interleave(8, 1)  # two kinds, 16 pixels
    >>> net = DiehlCook(16, 6, law=CompetitionLaw(total=8.0, rate=150.0, a_plus=0.1), seed=1)
    >>> net.fit(pictures, presentations=60, progress=False)
    >>> net.assign(pictures, torch.tensor([0, 1]), progress=False)
    >>> net.predict(pictures, progress=False).tolist()
    [0, 1]
    """

    weight: Tensor
    theta: Tensor
    shown: Tensor
    responses: Tensor

    def __init__(self, inputs: int, neurons: int, *, law: CompetitionLaw | None = None, seed: int = 0) -> None:
        super().__init__()
        if inputs < 1 or neurons < 1:
            raise InputError(f"inputs and neurons must be at least 1, got {inputs} and {neurons}")
        self.law, self.seed = law or CompetitionLaw(), seed
        if not self.law.total < self.law.w_max * inputs:
            raise InputError(
                f"law.total must be below w_max x inputs = {self.law.w_max * inputs:g}, got {self.law.total}: "
                "lower total with the number of inputs (78 is that for 784)"
            )
        drawn = torch.rand(inputs, neurons, generator=self._generator(0)) + 0.01
        self.register_buffer("weight", drawn * (self.law.total / drawn.sum(0)))
        self.register_buffer("theta", torch.zeros(neurons))
        self.register_buffer("shown", torch.tensor(0))
        self.register_buffer("responses", torch.zeros(neurons, 0))

    def fit(self, pictures: Tensor, *, presentations: int | None = None, progress: bool = True) -> None:
        """Learn from pictures, in an order drawn anew for each pass.

        Args:
            pictures: ``[S, inputs]``, 0 to 1, any number of dimensions after the first.
            presentations: how many to show now, going on where the last call stopped; None, once each.
            progress: whether to draw a line of progress.

        Raises:
            InputError: no pictures; another number of pixels; values out of range; a negative number of presentations.
        """
        flat = self._flat(pictures)
        if not len(flat):
            raise InputError("pictures must hold one at least, got none")
        if presentations is not None and presentations < 0:
            raise InputError(f"presentations must be 0 or more, got {presentations}")
        begun, wanted = int(self.shown), len(flat) if presentations is None else presentations
        with tqdm(desc="learning", total=wanted, disable=None if progress else True, unit=" pictures") as bar:
            while (done := int(self.shown) - begun) < wanted:
                turn, place = divmod(int(self.shown), len(flat))
                order = torch.randperm(len(flat), generator=self._generator(turn + 1))
                last = min(len(flat), place + wanted - done)
                for some in order[place:last].split(_CHUNK):
                    self._learn(flat[some])
                    bar.update(len(some))

    def _learn(self, pictures: Tensor) -> None:
        made = compete(self.weight, self.theta, pictures, self.law, seed=self.seed, first=int(self.shown))
        self.weight, self.theta = made.weight, made.theta
        self.shown += len(pictures)

    def respond(self, pictures: Tensor, *, progress: bool = True) -> Tensor:
        """Numbers of spikes ``[S, neurons]`` for pictures ``[S, inputs]``; nothing is learned.

        Raises:
            InputError: as :meth:`fit`.
        """
        flat, counts = self._flat(pictures), []
        with tqdm(desc="answering", total=len(flat), disable=None if progress else True, unit=" pictures") as bar:
            for k, some in enumerate(flat.split(_CHUNK)):
                made = compete(self.weight, self.theta, some, self.law, seed=self.seed, first=k * _CHUNK, learn=False)
                counts.append(made.counts)
                bar.update(len(some))
        return torch.cat(counts) if counts else torch.zeros(0, len(self.theta), dtype=torch.int64)

    def assign(self, pictures: Tensor, labels: Tensor, *, classes: int | None = None, progress: bool = True) -> None:
        """Remember what each neuron answers to the pictures of each class, on average.

        Args:
            pictures: ``[S, inputs]``.
            labels: ``[S]`` int64, from 0.
            classes: how many; None, as many as there are labels.
            progress: whether to draw a line of progress.

        Raises:
            InputError: as :meth:`fit`; labels that do not fit, or a class without a picture.
        """
        number = classes or (int(labels.max()) + 1 if labels.numel() else 0)
        if labels.shape != pictures.shape[:1] or labels.dtype != torch.int64 or not len(labels):
            raise InputError(f"labels must be int64, one for each picture, got {labels.dtype} {list(labels.shape)}")
        if int(labels.min()) < 0 or int(labels.max()) >= number:
            raise InputError(f"labels must be in 0..{number - 1}, got {int(labels.min())}..{int(labels.max())}")
        belongs = nn.functional.one_hot(labels, number).float()
        if missing := torch.nonzero(belongs.sum(0) == 0).flatten().tolist():
            raise InputError(f"each of the {number} classes needs a picture, got none of {missing[0]}")
        self.responses = self.respond(pictures, progress=progress).float().t() @ (belongs / belongs.sum(0))

    def decide(self, counts: Tensor, vote: Vote = "weighted") -> Tensor:
        """Classes ``[S]`` that answers ``counts [S, neurons]`` speak for.

        ``"standard"``: a neuron speaks for the class it answers most, and a class's answer is the mean over its
        neurons (Diehl and Cook). ``"weighted"``: it speaks for each class by its share in the neuron's answers, and
        a class's answer is the sum (Hussaini, Milford and Fischer, RA-L 2022).

        Raises:
            InputError: nothing assigned yet; counts of another number of neurons; no such vote.
        """
        if vote not in VOTES:
            raise unknown_name("vote", vote, VOTES)
        neurons, classes = self.responses.shape
        if not classes:
            raise InputError("the neurons stand for no classes yet; call assign(pictures, labels) first")
        if counts.dim() != 2 or counts.shape[1] != neurons:
            raise InputError(f"counts must be [S, {neurons}], got {list(counts.shape)}")
        heard = self.responses.sum(1, keepdim=True)
        if vote == "weighted":
            share = self.responses / heard.clamp_min(torch.finfo(heard.dtype).tiny)
            return (counts.float() @ share).argmax(1)
        chosen = nn.functional.one_hot(self.responses.argmax(1), classes).float() * (heard > 0)
        return (counts.float() @ (chosen / chosen.sum(0).clamp_min(1))).argmax(1)

    def predict(self, pictures: Tensor, vote: Vote = "weighted", *, progress: bool = True) -> Tensor:
        """Classes ``[S]`` of pictures ``[S, inputs]``; see :meth:`decide`.

        Raises:
            InputError: as :meth:`fit` and :meth:`decide`.
        """
        return self.decide(self.respond(pictures, progress=progress), vote)

    def _generator(self, stream: int) -> torch.Generator:
        """Stream 0 is for the weights, k + 1 for the order of pass k."""
        return torch.Generator().manual_seed((self.seed * 1_000_003 + stream) % 2**63)

    def _flat(self, pictures: Tensor) -> Tensor:
        inputs = self.weight.shape[0]
        if pictures.dim() < 2 or pictures[0:1].numel() not in (inputs, 0) or not pictures.is_floating_point():
            raise InputError(f"pictures must be [S, {inputs}] from 0 to 1, got {pictures.dtype} {list(pictures.shape)}")
        return pictures.reshape(len(pictures), inputs).to(self.weight.dtype)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        if (held := state_dict.get(prefix + "responses")) is not None:  # as many classes as were assigned
            self.responses = self.responses.new_zeros(len(self.responses), held.shape[-1])
        super()._load_from_state_dict(state_dict, prefix, *args)
