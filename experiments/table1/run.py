#!/usr/bin/env python3
"""Runs the cells of the table (networks x optimizers x data sets x seeds) with blkc, and writes the table and its curves.

    run.py --data cifar10:DIR                        all networks and optimizers, the short schedule
    run.py search --data cifar10:DIR                 only the search for learning rates
    run.py --full --data cifar10:DIR,cifar100:DIR    the full schedule
    run.py --rate 0.02 --optimizers sgd --data …      cells at a rate that the search has not chosen, beside the table
    run.py --report                                  only the table and the curves, from the results that there are

What is done is not done again; what was begun goes on. README.md says what is run and what is kept.
"""
import argparse
import math
import pathlib
import sys

import blkc
import record
import report
import search
from plan import HERE, VGG, Cell, Data, Mistake, Network, Optimizer, Protocol

FULL = 300


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = lambda text: [word for word in text.split(",") if word]
    parser.add_argument("what", nargs="?", choices=["run", "search"], default="run")
    parser.add_argument("--networks", type=words, default=list(VGG), metavar="N,…", help="vgg11, vgg13, vgg16, vgg19, FILE.blk[:NAME]")
    parser.add_argument("--optimizers", type=words, default=["sgd", "lars", "lsalr", "scale_amended"], metavar="O,…",
                        help="with arguments as in scale_amended:accumulate=true:mode=trace")
    parser.add_argument("--data", type=words, default=[], metavar="D,…", help="cifar10:DIR, cifar100:DIR, digits")
    parser.add_argument("--seeds", type=words, default=["1", "2", "3"], metavar="N,…")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=int, default=3, metavar="N")
    length.add_argument("--full", action="store_true", help=f"{FULL} epochs")
    parser.add_argument("--search-epochs", type=int, default=1, metavar="N")
    parser.add_argument("--search-per-network", action="store_true", help="not vgg11's rates for all of std.vgg")
    parser.add_argument("--warmup", type=float, metavar="SHARE", help="of all epochs, of cells and searches (default: that of cell.blk)")
    parser.add_argument("--rate", type=float, metavar="R", help="this one instead of the search's; the table leaves such cells out")
    parser.add_argument("--precision", choices=["f32", "f32_strict", "bf16"], default="bf16")
    parser.add_argument("--threads", type=int, metavar="N", help="of blkc; the results do not depend on it")
    parser.add_argument("--blkc", metavar="PATH")
    parser.add_argument("--runs", type=pathlib.Path, default=HERE.parents[1] / "build" / "table1", metavar="DIR")
    parser.add_argument("--results", type=pathlib.Path, default=HERE / "results", metavar="DIR")
    parser.add_argument("--report", action="store_true", help="only write table and curves")
    parser.add_argument("--check", action="store_true", help="only see whether the table says what the results say")
    return parser.parse_args(arguments)


class Plan:
    """What the command line asks for."""

    def __init__(self, options):
        if not options.data:
            raise Mistake("--data is missing: cifar10:DIR, cifar100:DIR or both\n  help: docs/data.md says what DIR holds")
        if not all(seed.isdigit() for seed in options.seeds):
            raise Mistake(f"--seeds {','.join(options.seeds)}: write whole numbers, as in 1,2,3")
        epochs = FULL if options.full else options.epochs
        if min(epochs, options.search_epochs) < 1:
            raise Mistake("--epochs and --search-epochs are at least 1")
        if options.rate is not None and not (options.rate > 0 and math.isfinite(options.rate)):
            raise Mistake("--rate is a positive number")
        if options.rate is not None and options.what == "search":
            raise Mistake("--rate is for cells, not for a search")
        if options.warmup is not None and not 0 <= options.warmup < 0.5:
            raise Mistake("--warmup is a share of all epochs, at least 0 and less than 0.5")
        self.data = [Data.parse(text) for text in options.data]
        self.networks = [Network.parse(text) for text in options.networks]
        self.optimizers = [Optimizer.parse(text) for text in options.optimizers]
        self.seeds = [int(seed) for seed in options.seeds]
        self.per_network = options.search_per_network
        self.protocol = Protocol(epochs, options.precision, warmup=options.warmup)
        self.search = Protocol(options.search_epochs, options.precision, validation=0.1, warmup=options.warmup)

    def searched(self, network):
        """The network whose rates this one takes."""
        return network if self.per_network or network.file else Network(VGG[0])

    def searches(self):
        places = {(data, self.searched(network)): None for data in self.data for network in self.networks}
        return [(data, network, optimizer) for data, network in places for optimizer in self.optimizers]

    def combinations(self):
        """Seeds outermost: the first pass fills every cell of the table."""
        return [
            (seed, data, network, optimizer)
            for seed in self.seeds for data in self.data for network in self.networks for optimizer in self.optimizers
        ]


class Runner:
    def __init__(self, options):
        self.options, self.signals, self.problems = options, blkc.Signals(), []
        self.blkc = blkc.find(options.blkc)

    def cell(self, cell):
        """Runs it unless it is done; whether it is now. What is wrong with it is told, and the others go on."""
        results, folder = self.options.results, self.options.runs / cell.path
        try:
            if record.is_done(cell, results):
                return True
            say(f"{cell.path}")
            diverged = blkc.train(self.blkc, cell, folder.resolve(), self.options.threads, self.signals)
            record.keep(cell, folder, results, self.blkc, self.options.threads, diverged)
            return True
        except blkc.Busy:
            self.problem(f"{folder} is being run by another process: left to it")
        except Mistake as mistake:
            self.problem(str(mistake))
        return False

    def problem(self, message):
        self.problems.append(message)
        say(f"error: {message}")

    def search(self, plan, data, network, optimizer):
        """Runs what the search asks for, until it is over or a run of it cannot be had."""
        while True:
            state = search.look(plan.search, data, network, optimizer, self.options.results)
            if state.next is None:
                break
            if not self.cell(search.cell(plan.search, data, network, optimizer, state.next)):
                return None
        if state.rate is None:
            self.problem(f"every rate of the search for {optimizer.label} on {data.name}, {network.name} diverged: it has no cells")
        return state.rate

    def cells(self, plan, rates):
        for seed, data, network, optimizer in plan.combinations():
            rate = rates[data, plan.searched(network), optimizer]
            if rate is not None and self.cell(Cell(plan.protocol, data, network, optimizer, rate, seed)):
                report.write_table(self.options.results)


def say(line):
    print(line, file=sys.stderr, flush=True)


def run(options):
    plan, runner = Plan(options), Runner(options)
    try:
        if options.rate is None:
            report.ask(options.results, plan)
            rates = {place: runner.search(plan, *place) for place in plan.searches()}
        else:
            rates = dict.fromkeys(plan.searches(), options.rate)
        if options.what == "run":
            runner.cells(plan, rates)
    except blkc.Interrupted:
        say("interrupted; the same command goes on from here")
        return blkc.INTERRUPTED
    finally:
        report.write_table(options.results)
    write_report(options.results, runner.blkc)
    for problem in runner.problems:
        say(f"not done: {problem.splitlines()[0]}")
    return 1 if runner.problems else 0


def write_report(results, compiler):
    """Curves first: the table shows those that there are."""
    report.write_curves(results, compiler)
    report.write_table(results)


def check(results):
    stale = report.stale(results)
    for file in stale:
        say(f"{file} does not say what the results say: run.py --report")
    return 1 if stale else 0


def main(arguments):
    options = parse(arguments)
    try:
        if options.check:
            return check(options.results)
        if not options.report:
            return run(options)
        write_report(options.results, blkc.find(options.blkc))
        return 0
    except Mistake as mistake:
        say(f"error: {mistake}")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
