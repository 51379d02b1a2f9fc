"""The run folder: what was asked, a record for each finished step, and steps that are whole or were never begun."""
