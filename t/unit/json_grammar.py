"""Decides where the gateway and jansson (json_grammar.cpp) think otherwise of a body: by Python's own parser.

No body may be taken that both parsers refuse, and none refused as no JSON that both take."""

import json
import sys


def python_takes(body):
    try:
        # How large a number may be is no question of grammar.
        return isinstance(json.loads(body.decode("utf-8"), parse_int=float, parse_float=float), dict)
    except ValueError:
        return False


wrong = 0
total = None
for line in sys.stdin:
    if line[0] == "=":
        total = [int(n) for n in line.split()[1:]]
        continue
    body = bytes.fromhex(line[1:])
    taken = line[0] == "+"
    if python_takes(body) != taken:
        wrong += 1
        print("taken" if taken else "refused", "against both:", body)
if total is None or min(total) < 1000:
    sys.exit("too few bodies were tried: %s" % total)
print("%d bodies taken, %d refused, %d against both parsers" % (*total, wrong))
sys.exit(wrong != 0)
