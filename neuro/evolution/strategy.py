"""Evolution of numbers: covariance matrix adaptation with mirrored samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from neuro.errors import FileFormatError, InputError
from neuro.files import atomic_write

__all__ = ["CMAES", "evolve"]


class CMAES:
    r"""The (mu/mu_w, lambda) strategy with covariance matrix adaptation, on pairs of mirrored samples.

    ``x = m +- sigma N(0, C)``; of each pair the better one counts, of these the best half, weighted by
    ``w_i ~ ln(mu + 1/2) - ln i``:

        m <- m + sigma y_w,                            y_w = sum_i w_i (x_i - m) / sigma
        p_s <- (1 - c_s) p_s + sqrt(c_s (2 - c_s) mu_eff) C^(-1/2) y_w
        p_c <- (1 - c_c) p_c + h sqrt(c_c (2 - c_c) mu_eff) y_w
        C <- (1 - c_1 - c_mu) C + c_1 p_c p_c^T + c_mu sum_i w_i y_i y_i^T
        sigma <- sigma exp(c_s / d_s (|p_s| / E|N(0, I)| - 1))

    with h = 0 while ``|p_s|`` is long, and rates of the size and ``mu_eff = 1 / sum w^2``. Samples are a function of
    the seed and the generation only.

    Args:
        start: mean of the first generation, ``[G]``.
        sigma: its standard deviation.
        size: individuals of a generation, even; 4 + 3 ln G, rounded up, unless given.
        seed: of all samples.

    Attributes:
        mean: ``[G]``, float64.
        covariance: ``[G, G]``.
        generation: how many have been told.

    Raises:
        InputError: a start that is no vector; a value out of range.

    Source: Hansen 2016, "The CMA evolution strategy: a tutorial" (arXiv 1604.00772), figure 6; pairs: Auger, Brockhoff and
    Hansen 2011, "Mirrored sampling in evolution strategies with weighted recombination" (GECCO).

    >>> strategy = CMAES(torch.ones(5), 0.5)
    >>> for _ in range(150):
    ...     genomes = strategy.ask()
    ...     strategy.tell(genomes.square().sum(1))
    >>> bool(strategy.mean.square().sum() < 1e-6)
    True
    """

    def __init__(self, start: Tensor, sigma: float, *, size: int | None = None, seed: int = 0) -> None:
        if start.dim() != 1 or not len(start) or not bool(torch.isfinite(start).all()):
            raise InputError(f"start must be finite, [G] with G at least 1, got {list(start.shape)}")
        genes = len(start)
        self.size = 2 * math.ceil((4 + 3 * math.log(genes)) / 2) if size is None else size
        if self.size < 4 or self.size % 2 or not (math.isfinite(sigma) and sigma > 0):
            raise InputError(f"size must be even, at least 4, and sigma above 0, got {self.size} and {sigma}")
        self.seed, self.generation, self.sigma = seed, 0, float(sigma)
        self.mean = start.detach().double().cpu().clone()
        self.covariance = torch.eye(genes, dtype=torch.float64)
        self._paths = torch.zeros(2, genes, dtype=torch.float64)  # of sigma, of the covariance
        parents = max(1, self.size // 4)
        raw = math.log(parents + 0.5) - torch.arange(1, parents + 1, dtype=torch.float64).log()
        self._weights = raw / raw.sum()
        self._mu = 1 / float(self._weights.square().sum())

    def ask(self) -> Tensor:
        """The genomes of this generation, ``[size, G]``, float64; the same until :meth:`tell`."""
        half = self.sigma * self._draws() @ self._root().t()
        return torch.cat([self.mean + half, self.mean - half])

    def _draws(self) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.generation)
        return torch.randn(self.size // 2, len(self.mean), generator=generator, dtype=torch.float64)

    def _root(self, power: float = 0.5) -> Tensor:
        values, vectors = torch.linalg.eigh(self.covariance)
        root: Tensor = (vectors * values.clamp_min(1e-20) ** power) @ vectors.t()
        return root

    def tell(self, fitness: Tensor) -> None:
        """Move on, given the fitness of each, ``[size]``: the less, the better; NaN is the worst.

        Raises:
            InputError: another shape.
        """
        if fitness.shape != (self.size,):
            raise InputError(f"fitness must be [{self.size}], got {list(fitness.shape)}")
        given = fitness.detach().double().cpu().nan_to_num(math.inf, math.inf, -math.inf)
        steps = ((self.ask() - self.mean) / self.sigma).view(2, -1, len(self.mean))
        pairs = given.view(2, -1)
        better = pairs.argmin(0)
        order = pairs.min(0).values.argsort(stable=True)[: len(self._weights)]
        self._adapt(steps[better[order], order])
        self.generation += 1

    def _adapt(self, chosen: Tensor) -> None:
        """One step with the parents' ``(x - m) / sigma``, ``[mu, G]``."""
        n, mu = len(self.mean), self._mu
        c_s, c_c = (mu + 2) / (n + mu + 5), (4 + mu / n) / (n + 4 + 2 * mu / n)
        c_1 = 2 / ((n + 1.3) ** 2 + mu)
        c_mu = min(1 - c_1, 2 * (mu - 2 + 1 / mu) / ((n + 2) ** 2 + mu))
        damping = 1 + 2 * max(0.0, math.sqrt((mu - 1) / (n + 1)) - 1) + c_s
        expected = math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n))
        step = self._weights @ chosen
        p_s = (1 - c_s) * self._paths[0] + math.sqrt(c_s * (2 - c_s) * mu) * (self._root(-0.5) @ step)
        length = float(p_s.norm()) / expected
        fresh = math.sqrt(1 - (1 - c_s) ** (2 * (self.generation + 1)))
        h = float(length < (1.4 + 2 / (n + 1)) * fresh)
        p_c = (1 - c_c) * self._paths[1] + h * math.sqrt(c_c * (2 - c_c) * mu) * step
        kept = 1 - c_1 - c_mu + (1 - h) * c_1 * c_c * (2 - c_c)
        spread = (chosen * self._weights.unsqueeze(1)).t() @ chosen
        self.mean = self.mean + self.sigma * step
        self.covariance = kept * self.covariance + c_1 * torch.outer(p_c, p_c) + c_mu * spread
        self._paths = torch.stack([p_s, p_c])
        self.sigma *= math.exp(min(1.0, c_s / damping * (length - 1)))

    def state_dict(self) -> dict[str, Any]:
        """What :meth:`load_state_dict` needs to go on."""
        held = {"mean": self.mean, "covariance": self.covariance, "paths": self._paths}
        return {**held, "sigma": self.sigma, "generation": self.generation, "size": self.size, "seed": self.seed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there.

        Raises:
            InputError: the state of a strategy of another size.
        """
        if state["mean"].shape != self.mean.shape or state["size"] != self.size:
            seen = f"{list(state['mean'].shape)} genes of {state['size']}"
            raise InputError(
                f"the state must be of {list(self.mean.shape)} genes of {self.size} individuals, got {seen}"
            )
        self.mean, self.covariance, self._paths = state["mean"], state["covariance"], state["paths"]
        self.sigma, self.generation, self.seed = state["sigma"], state["generation"], state["seed"]


def evolve(
    fitness: Callable[[Tensor], Tensor],
    strategy: CMAES,
    generations: int,
    *,
    checkpoint: str | Path | None = None,
    save_every: int = 10,
    progress: bool = False,
) -> tuple[Tensor, list[float]]:
    """Let generations pass, every individual of one evaluated in the same call.

    Args:
        fitness: of genomes ``[size, G]``: ``[size]``, the less, the better.
        strategy: moved on in place.
        generations: how many in all, those before a stop among them.
        checkpoint: file that is written every ``save_every`` generations and at the end, and gone on from if it is there.
        save_every: generations from one to the next.
        progress: whether a line shows how far it is, if there is a terminal.

    Returns:
        The best genome seen, ``[G]``, and the least fitness of each generation.

    Raises:
        InputError: a fitness of another shape.
        FileFormatError: a checkpoint of something else.

    >>> best, course = evolve(lambda x: (x - 3).square().sum(1), CMAES(torch.zeros(2), 1.0), 60)
    >>> [round(v, 3) for v in best.tolist()], len(course)
    ([3.0, 3.0], 60)
    """
    path = None if checkpoint is None else Path(checkpoint)
    best, course = (strategy.mean, []) if path is None or not path.exists() else _restore(path, strategy)
    with tqdm(total=generations, initial=len(course), desc="evolving", disable=None if progress else True) as bar:
        for generation in range(len(course), generations):
            genomes = strategy.ask()
            found = fitness(genomes).detach().double().cpu()
            strategy.tell(found)
            found = found.nan_to_num(math.inf)
            if not course or float(found.min()) < min(course):
                best = genomes[int(found.argmin())]
            course.append(float(found.min()))
            bar.set_postfix(best=f"{min(course):.4g}", refresh=False)
            if path is not None and ((generation + 1) % save_every == 0 or generation == generations - 1):
                held = {"strategy": strategy.state_dict(), "best": best.clone(), "course": course}
                with atomic_write(path) as temporary:
                    torch.save(held, temporary)
            bar.update()
    return best, course


def _restore(path: Path, strategy: CMAES) -> tuple[Tensor, list[float]]:
    try:
        held = torch.load(path, weights_only=True)
        strategy.load_state_dict(held["strategy"])
        return held["best"], held["course"]
    except Exception as error:
        raise FileFormatError(path, f"no checkpoint of this run ({error}); name another file or remove it") from error
