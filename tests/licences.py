"""Lists the licences of all that is installed with gaia-local as a page: ``python -m licences``."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PACKAGE = "gaia-local"
ALWAYS = "always"
EXTRAS = (ALWAYS, "pictures", "server", "dask", "bench", "test")
UNKNOWN = "unknown"
_SPDX = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""Classifiers' names of licences, as newer versions of packages write them."""
_TEXTS = {
    "Apache": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "MIT": "MIT",
    "MPL": "MPL-2.0",
    "PSF": "PSF-2.0",
}
"""How a licence that is given as free text begins."""
_HEAD = """# Licences

What is installed with gaia-local, and under which licence; `make licences` writes this page anew.
*Always*: every installation needs it; the others come with the extra of that name
(in a checkout, `pip install '.[pictures]'`). Packages in italics come along with others. What the
status page uses of others' lies in `gaia_local/server/page/vendor`, with its licences.

| package | licence | comes with |
|---|---|---|"""


@dataclass
class Row:
    """One package that is installed."""

    name: str
    licence: str
    direct: bool
    """Whether gaia-local itself asks for it."""
    extras: list[str] = field(default_factory=list)


def rows() -> list[Row]:
    """All that is installed with gaia-local and its extras, or `PackageNotFoundError`."""
    found: dict[str, Row] = {}
    for extra in EXTRAS:
        queue = [
            (requirement, True)
            for requirement in wanted(distribution(PACKAGE), "" if extra == ALWAYS else extra)
        ]
        seen: set[tuple[str, frozenset[str]]] = set()
        for requirement, direct in queue:
            name = canonicalize_name(requirement.name)
            if name == PACKAGE or (name, frozenset(requirement.extras)) in seen:
                continue
            seen.add((name, frozenset(requirement.extras)))
            package = distribution(name)
            row = found.setdefault(name, Row(name, licence(package), direct))
            row.direct |= direct
            if extra not in row.extras and ALWAYS not in row.extras:
                row.extras.append(extra)
            for inner_extra in ("", *requirement.extras):
                queue += [(inner, False) for inner in wanted(package, inner_extra)]
    for row in found.values():
        # `test` brings all the others along.
        row.extras = row.extras[:-1] if len(row.extras) > 1 else row.extras
    return sorted(found.values(), key=lambda row: row.name)


def wanted(package: Distribution, extra: str) -> list[Requirement]:
    """What a package asks for here: always, or only with an extra."""
    requirements = [Requirement(requirement) for requirement in package.requires or ()]
    return [
        requirement
        for requirement in requirements
        if (requirement.marker is None or requirement.marker.evaluate({"extra": extra}))
        and (
            not extra
            or (requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}))
        )
    ]


def licence(package: Distribution) -> str:
    """The SPDX expression of a package's licence, as far as its metadata tell."""
    about = package.metadata
    if expression := about.get_all("License-Expression"):
        return str(expression[0])
    names = [
        classifier.rpartition(" :: ")[2]
        for classifier in about.get_all("Classifier") or ()
        if classifier.startswith("License :: ")
    ]
    known = [
        _SPDX.get(name, name) for name in names if name not in ("OSI Approved", "DFSG approved")
    ]
    text = "".join(about.get_all("License") or ()).strip()
    given = next(
        (
            spdx
            for start, spdx in _TEXTS.items()
            if re.match(rf"(the )?{start}\b", text, re.IGNORECASE)
        ),
        None,
    )
    if "Permission is hereby granted, free of charge" in (
        package.read_text("licenses/LICENSE") or ""
    ):
        given = given or "MIT"
    return " OR ".join(sorted(set(known))) or given or text.partition("\n")[0][:40] or UNKNOWN


def page() -> str:
    """The whole page."""
    shown = [
        f"| {row.name if row.direct else f'*{row.name}*'} "
        f"| {row.licence} | {', '.join(row.extras)} |"
        for row in rows()
    ]
    return "\n".join([_HEAD, *shown, ""])


if __name__ == "__main__":
    try:
        sys.stdout.write(page())
    except PackageNotFoundError as error:
        raise SystemExit(
            f"licences: {error}; install all extras: pip install --editable '.[test]'"
        ) from error
