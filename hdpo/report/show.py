"""`hdpo show`: samples of a run in a terminal, or as a page."""

import sys
from collections.abc import Iterator
from pathlib import Path

from hdpo.render.terminal import bold, shaded, takes_colour
from hdpo.report.samples import KINDS, LIMITS, Response, Sampled, choose, find_samples, read
from hdpo.study.study import Study

LARGEST = 3  # tokens named under a text


def show(study: Study, run: str, seed: int, step: int | None, problem: str | None, html: Path | None) -> None:
    """Print the newest sample of a run, or that of a step or problem; or write all, or those, as a page to `html`.

    Raises:
        UserError: there are no such samples.
    """
    samples = read(find_samples(study, run, seed))
    chosen, title = choose(samples, step, problem), f"run {run} seed {seed}"
    if html is not None:
        from hdpo.report.samples_page import write_samples_page

        write_samples_page(html, study, title, chosen)
        print(f"{title}: {len(chosen)} samples in {html}")
        return
    steps = list(dict.fromkeys(sample.step for sample in samples))
    if step is None and problem is None:
        chosen = [sample for sample in samples if sample.step == steps[-1]]
    print(f"{title}: samples of steps {', '.join(map(str, steps))}; --step and --problem choose")
    for line in lines(chosen, takes_colour(sys.stdout)):
        print(line)


def lines(samples: list[Sampled], colour: bool) -> Iterator[str]:
    """The samples as lines of text, tokens shaded by their JSD if `colour`."""
    for sample in samples:
        heading = f"step {sample.step}, problem {sample.problem}, {KINDS.get(sample.kind, sample.kind)}"
        yield ""
        yield bold(heading) if colour else heading
        yield from _block("student's prompt", sample.prompt)
        yield from _tries("student", sample.student, colour)
        if sample.teacher:
            yield from _block("teacher's prompt", sample.privileged)
            yield from _tries("teacher", sample.teacher, colour)


def _tries(who: str, responses: list[Response], colour: bool) -> Iterator[str]:
    yield f"  {who}: {sum(response.reward for response in responses)} of {len(responses)} right"
    for response in responses:
        mark = ("✓" if response.reward else "✗") + (" kept" if response.kept else "")
        text = response.text
        if colour and response.tokens:
            text = "".join(shaded(token, level) for token, _, level in response.tokens)
        first, *rest = text.split("\n")
        yield f"    {response.number:>2} {mark}  {first}"
        yield from (f"       {line}" for line in rest)
        if response.tokens:
            yield f"       JSD in nats, by the weights after the step: {_largest(response)}"
            if colour:
                limits = (shaded(f" from {limit:g} ", level) for level, limit in enumerate(LIMITS, start=1))
                yield f"       shades: {''.join(limits)}"


def _largest(response: Response) -> str:
    """The tokens where student and teacher differ most, and the mean over all."""
    known = [(jsd, token) for token, jsd, _ in response.tokens if jsd is not None]
    named = sorted(known, reverse=True)[:LARGEST]
    mean = sum(jsd for jsd, _ in known) / max(1, len(known))
    return ", ".join([*(f'"{token.strip() or token}" {jsd:.3f}' for jsd, token in named), f"mean {mean:.3f}"])


def _block(title: str, text: str) -> Iterator[str]:
    yield f"  {title}:"
    yield from (f"    {line}" for line in text.split("\n"))
