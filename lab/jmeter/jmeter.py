#!/usr/bin/python3 -I
"""Stands in for JMeter: `jmeter -n -t PLAN -l SAMPLES` really sends a plan's plain HTTP requests.

It knows thread groups, loops, HTTP samplers without bodies, and ${__P(name,default)} with
-Jname=value. Anything else in a plan is refused: it never pretends to have tested something.
"""

import csv
import re
import sys
import threading
import time
import urllib.error
import urllib.request
from xml.etree import ElementTree

FIELDS = ["timeStamp", "elapsed", "label", "responseCode", "responseMessage", "threadName"]
FIELDS += ["success", "bytes"]
KNOWN = {"hashTree", "TestPlan", "ThreadGroup", "HTTPSamplerProxy"}
PROPERTY = re.compile(r"\$\{__P\(([\w.]+),([^)]*)\)\}")


def main(arguments: list[str]) -> int:
    options, properties = {"-n": ""}, {}
    rest = iter(arguments)
    for argument in rest:
        if argument.startswith("-J"):
            name, _, value = argument[2:].partition("=")
            properties[name] = value
        elif argument in ("-t", "-l", "-j"):
            options[argument] = next(rest)
        elif argument != "-n":
            return refuse(f"the option {argument}")
    try:
        plan = ElementTree.parse(options["-t"]).getroot()
    except (OSError, ElementTree.ParseError) as error:
        sys.stderr.write(f"the plan can't be read: {error}\n")
        return 1
    groups = []
    for tree in plan.findall("hashTree/hashTree"):
        for group, below in pairs(tree):
            if group.get("enabled") == "false":
                continue
            if group.tag != "ThreadGroup":
                return refuse(group.tag)
            samplers = [one for one, _ in pairs(below) if one.get("enabled") != "false"]
            for one in below.iter():
                if one.get("testclass") and one.tag not in KNOWN:
                    return refuse(one.tag)
            groups.append((group, samplers))

    def text(element: ElementTree.Element, name: str, default: str = "") -> str:
        found = next((p for p in element.iter() if p.get("name") == name), None)
        value = default if found is None else found.text or default
        return PROPERTY.sub(lambda match: properties.get(match[1], match[2]), value)

    guard = threading.Lock()
    began = time.monotonic()
    total, errors = 0, 0
    with open(options["-l"], "w", newline="") as file:
        samples = csv.writer(file)
        samples.writerow(FIELDS)

        def user(
            group: ElementTree.Element, samplers: list[ElementTree.Element], name: str
        ) -> None:
            nonlocal total, errors
            for _ in range(int(text(group, "LoopController.loops", "1"))):
                for sampler in samplers:
                    sample = send(sampler, text)
                    with guard:
                        samples.writerow([*sample[:5], name, *sample[5:]])
                        total += 1
                        errors += sample[5] == "false"

        for group, samplers in groups:
            users = int(text(group, "ThreadGroup.num_threads", "1"))
            title = group.get("testname", "users")
            threads = [
                threading.Thread(target=user, args=(group, samplers, f"{title} 1-{number}"))
                for number in range(1, users + 1)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    seconds = time.monotonic() - began
    print(f"summary = {total} in {seconds:.1f}s Err: {errors} (a stand-in for JMeter)")
    return 0


def pairs(tree: ElementTree.Element) -> list[tuple[ElementTree.Element, ElementTree.Element]]:
    """Elements with the hashTree that follows each: JMeter's way to say what is below it."""
    children = list(tree)
    return list(zip(children[::2], children[1::2], strict=True))


def send(sampler, text) -> list[object]:  # type: ignore[no-untyped-def]
    port = text(sampler, "HTTPSampler.port")
    host = text(sampler, "HTTPSampler.domain") + (f":{port}" if port else "")
    protocol = text(sampler, "HTTPSampler.protocol", "http")
    request = urllib.request.Request(
        f"{protocol}://{host}{text(sampler, 'HTTPSampler.path', '/')}",
        method=text(sampler, "HTTPSampler.method", "GET"),
    )
    stamp, begun = int(time.time() * 1000), time.monotonic()
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            code, message, size = str(response.status), response.reason, len(response.read())
            success = True
    except urllib.error.HTTPError as error:
        code, message, size, success = str(error.code), error.reason, len(error.read()), False
    except OSError as error:
        # What JMeter writes for a request that got no answer.
        code, message, size, success = (
            f"Non HTTP response code: {type(error).__name__}",
            "",
            0,
            False,
        )
        message = f"Non HTTP response message: {error}"
    elapsed = int((time.monotonic() - begun) * 1000)
    label = sampler.get("testname", "")
    return [stamp, elapsed, label, code, message, "true" if success else "false", size]


def refuse(what: str) -> int:
    sys.stderr.write(f"{what}: this stand-in for JMeter doesn't know it\n")
    return 1


sys.exit(main(sys.argv[1:]))
