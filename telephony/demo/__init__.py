"""The demo: three businesses with six weeks behind them and ten days before them, so that every page has a story.

businesses  who they are           people   their customers              words   what people text
diary       who asked for what, when it was done: pure, the same on every machine
history     the diary written down in bulk, with past times
today       the last hour, through the real services
access      who may look, and the logins
services    make it, carry it on day by day, take it away
"""
