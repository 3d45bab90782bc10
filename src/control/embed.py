#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Prints a text file as a C string: embed.py FILE NAME"""

import sys

path, name = sys.argv[1:]
print(f"static const char {name}[] =")
with open(path, encoding="ascii") as lines:
    for line in lines:
        text = line.rstrip("\n").replace("\\", "\\\\").replace('"', '\\"').replace("?", "\\?")
        print(f'\t"{text}\\n"')
print("\t;")
