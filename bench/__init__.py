"""Measurements of the appliance beside a yardstick taken in the same run.

Words used here:

- *figure*: the same thing measured several times, in one unit; its value is the median.
- *yardstick*: what the machine itself takes for the smallest thing of the kind: a Python that does nothing, a
  container that is started and answers, a build by hand.
- *row*: one line of the report: a ratio to its yardstick where there is one, the absolute figures beside it, and the
  target when somebody promised one.
- *place*: one appliance under measurement, with its own data directory, ports, subnet and home.
"""
