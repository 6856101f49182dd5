"""Reading and writing SVG files.

`parser.parse` accepts untrusted files: it loads nothing external, runs nothing, and is bounded in time and memory.
`writer.write` produces text that parses back to the same values.
"""
