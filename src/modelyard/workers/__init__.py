"""Hands: the processes that run models and jobs, and the frames one talks to them with."""
