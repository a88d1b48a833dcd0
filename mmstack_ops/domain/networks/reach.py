"""Compare the ports that services may open with those that they can open, from inside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.stacks.observed import ObservedContainer

Verdict = Literal["ok", "unreachable", "exposed", "no name", "wrong protocol"]


@dataclass(frozen=True)
class Question:
    """One check from inside a container.

    Args:
        source, target: services.
        name: the name to resolve; empty for an undeclared connection (it uses the address).
        speaks: the protocol in which the port must answer; empty if none is checked.
    """

    source: str
    target: str
    address: str
    port: int
    allowed: bool
    name: str = ""
    speaks: str = ""


@dataclass(frozen=True)
class GatewayQuestion:
    """One check whether a container can reach the gateway of a network."""

    source: str
    network: str
    address: str


@dataclass(frozen=True)
class GatewayState:
    """The result of a gateway check."""

    source: str
    network: str
    address: str
    reachable: bool

    def to_json(self) -> dict[str, Any]:
        """Return the object as JSON values."""
        return dict(vars(self))


@dataclass(frozen=True)
class Answer:
    """The result of a check from inside a container."""

    connected: bool
    resolved: str = ""
    """The address that the name resolved to inside; empty if none, or if it wasn't resolved."""
    spoke: bool | None = None
    """Whether it answered in its protocol; None if that wasn't checked."""


@dataclass(frozen=True)
class Cell:
    """The verdict on one service and one port of another."""

    source: str
    target: str
    port: int
    allowed: bool
    verdict: Verdict
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the object as JSON values."""
        return dict(vars(self))


@dataclass(frozen=True)
class Reach:
    """All results of the checks from inside."""

    cells: tuple[Cell, ...] = ()
    gateways: tuple[GatewayState, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether everything is as declared."""
        return all(cell.verdict == "ok" for cell in self.cells) and all(
            gateway.reachable for gateway in self.gateways
        )

    def to_json(self) -> dict[str, Any]:
        """Return the object as JSON values."""
        return {
            "clean": self.clean,
            "cells": [cell.to_json() for cell in self.cells],
            "gateways": [gateway.to_json() for gateway in self.gateways],
        }


def gateway_questions(
    catalogue: Catalogue, containers: Iterable[ObservedContainer]
) -> dict[str, list[GatewayQuestion]]:
    """Return the gateways to check inside each service's first container, by container id."""
    return {
        one.id: [
            GatewayQuestion(one.service, network, address)
            for network, address in sorted(one.gateways.items())
        ]
        for one in _first_of_each(catalogue, containers).values()
    }


def questions(
    catalogue: Catalogue, containers: Iterable[ObservedContainer]
) -> dict[str, list[Question]]:
    """Return the checks to run inside each service's first container, by container id.

    A service may open the ports of services with which it shares a network that both declare. A
    network that was joined by hand doesn't count. A target with several addresses is checked at
    each of them.
    """
    running = _first_of_each(catalogue, containers)
    declared = {
        service: {network.name for network in catalogue.networks_of(service)} for service in running
    }
    asked: dict[str, list[Question]] = {}
    for source in running.values():
        asked[source.id] = [
            Question(
                source.service,
                target.service,
                address,
                port.container,
                allowed=(allowed := network in declared[source.service] & declared[target.service]),
                name=target.service if allowed else "",
                speaks=port.spoken if allowed else "",
            )
            for target in running.values()
            if target.service != source.service
            for network, address in sorted(target.addresses.items())
            if address
            for port in catalogue.services[target.service].definition.ports
            if port.protocol == "tcp"
        ]
    return asked


def _first_of_each(
    catalogue: Catalogue, containers: Iterable[ObservedContainer]
) -> dict[str, ObservedContainer]:
    found: dict[str, ObservedContainer] = {}
    for one in sorted(containers, key=lambda container: container.number):
        ours = one.environment == catalogue.environment and not one.oneoff
        if ours and one.state == "running" and one.service in catalogue.services:
            found.setdefault(one.service, one)
    return dict(sorted(found.items()))


def judged(asked: Sequence[Question], answers: Sequence[Answer]) -> list[Cell]:
    """Return a cell for each source, target and port, with the worst result of its addresses."""
    cells: dict[tuple[str, str, int], Cell] = {}
    for question, answer in zip(asked, answers, strict=True):
        cell = _cell(question, answer)
        key = (cell.source, cell.target, cell.port)
        known = cells.get(key)
        if known is None or (known.verdict == "ok" and (cell.verdict != "ok" or cell.allowed)):
            cells[key] = cell
    return list(cells.values())


def _cell(question: Question, answer: Answer) -> Cell:
    verdict: Verdict = "ok"
    detail = ""
    where = f"{question.address}:{question.port}"
    if question.allowed and not answer.connected:
        verdict, detail = "unreachable", f"no connection to {where}"
    elif question.allowed and not answer.resolved:
        verdict, detail = "no name", f"{question.name} doesn't resolve inside"
    elif answer.spoke is False:
        verdict, detail = "wrong protocol", f"{where} connects, but not as {question.speaks}"
    elif not question.allowed and answer.connected:
        verdict, detail = "exposed", f"{where} answers, though nothing declares that"
    return Cell(question.source, question.target, question.port, question.allowed, verdict, detail)


def as_matrix(cells: Iterable[Cell]) -> Mapping[tuple[str, str], list[Cell]]:
    """Return the cells by source and target."""
    matrix: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        matrix.setdefault((cell.source, cell.target), []).append(cell)
    return matrix
