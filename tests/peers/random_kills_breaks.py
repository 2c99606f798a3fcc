"""How each invariant of `check-random-kills` is broken in a copy of the evidence, and what it must say then."""
import copy

from random_kills_invariants import (ENDS, INVARIANTS, account_is_the_sum_of_its_fills, admitted_is_stored,
                                     alerts_begin_and_end_once, audit_holds, audit_tells_each_end_once,
                                     commands_act_once, committed_runs, followers_miss_nothing, gaps_begin_lives,
                                     ledger_is_whole, nothing_is_a_defect, nothing_is_held_after_the_floods,
                                     no_cursor_is_refused, numbers_mean_one_event, operations_end_once)


def other_config_runs(seen):
    seen.running["sha256"] = "0" * 64


def other_file_than_head(seen):
    seen.head_file_sha256 = "0" * 64


def changed_byte(seen):
    content = bytearray(seen.audit_lines)
    content[len(content) // 2] ^= 1
    seen.audit_lines = bytes(content)


def missing_last_line(seen):
    seen.audit_lines = b"".join(seen.audit_lines.splitlines(keepends=True)[:-1])


def end_told_twice(seen):
    seen.audit.append(next(record for record in seen.audit if record["event"] in ENDS["config"]))


def fact_twice(seen):
    facts = seen.facts[next(iter(seen.operations))]
    facts.append((facts[-1][0] + 1, facts[-1][1]))


def fact_lost(seen):
    seen.facts[next(iter(seen.operations))].pop(1)


def operation_lives_on(seen):
    id, (kind, name, _, _) = next(iter(seen.operations.items()))
    seen.operations[id] = (kind, name, "trial", 1)


def operation_forgotten(seen):
    seen.operations.pop(next(id for ids in seen.admitted.values() for id in ids))


def key_began_two(seen):
    next(ids for ids in seen.admitted.values() if ids).add("another")


def first_fill(seen):
    return next(at for at, line in enumerate(seen.ledger) if line["entry"]["type"] == "filled")


def ledger_line_lost(seen):
    seen.ledger.pop(first_fill(seen))


def fill_twice(seen):
    seen.ledger.append(seen.ledger[first_fill(seen)])


def fill_too_large(seen):
    seen.ledger[first_fill(seen)]["entry"]["quantity"] = "1000000"


def fill_not_counted(seen):
    fills = [line for line in seen.shown["ledger"] if line["entry"]["type"] == "filled"]
    seen.shown["ledger"].remove(fills[len(fills) // 2])


def commission_not_counted(seen):
    next(line for line in seen.shown["ledger"] if line["entry"]["type"] == "filled")["entry"]["commission"] = "17"


def recorded_commands(seen):
    return [line for line in seen.ledger if line["entry"]["type"] == "command" and
            line["entry"]["result"]["outcome"] == "done" and line["entry"]["result"]["command_id"].startswith("operator/driver")]


def command_recorded_twice(seen):
    seen.ledger.append(recorded_commands(seen)[0])


def effect_twice(seen):
    seen.effects.append(next(effect for effect in seen.effects if effect["effect"] == "command"))


def command_done_anew(seen):
    seen.commands["some"] = ["done", "done"]


def command_done_by_nobody(seen):
    seen.commands["some"] = ["done"]


def command_without_effect_done(seen):
    key = recorded_commands(seen)[0]["entry"]["result"]["command_id"].removeprefix("operator/")
    seen.commands[key] = ["none"]


def other_content(seen):
    seen.followed["journal"][5]["message"] = "something else"


def stream_goes_back(seen):
    seen.followed["stream"].append(seen.followed["stream"][0])


def swallow(seen, follower):
    swallowed = list(seen.journal)[len(seen.journal) // 2]
    seen.followed[follower] = [event for event in seen.followed[follower] if event["seq"] != swallowed]
    seen.told[follower] = []


def many_gaps(seen):
    for number in list(seen.journal)[10::2][:seen.starts + 1]:
        seen.journal.pop(number)


def gap_in_a_life(seen):
    seen.starts += 1
    last = max(seen.journal)
    seen.journal |= {last + 2 + more: {"message": "later"} for more in range(200)}


def closed_alert(seen):
    told = {notice["alert_id"] for notice in seen.notices if notice["notice"] == "resolved"}
    return next(alert["id"] for alert, closed in seen.alerts if closed and alert["starts_at"] < seen.quiet_ms and alert["id"] in told)


def end_untold(seen):
    id = closed_alert(seen)
    seen.notices = [one for one in seen.notices if (one["alert_id"], one["notice"]) != (id, "resolved")]


def begin_told_twice(seen):
    id = closed_alert(seen)
    seen.notices.append(next(one for one in seen.notices if one["alert_id"] == id) | {"notice": "firing", "key": "another"})


def alert_unknown(seen):
    seen.notices.append(seen.notices[0] | {"alert_id": "another"})


def reopen(seen, copies):
    at = next(at for at, (alert, _) in enumerate(seen.alerts) if alert["id"] == closed_alert(seen))
    alert = seen.alerts[at][0] | {"state": "firing", "labels": {"component": "feed"}}
    seen.alerts[at] = (alert, None)
    seen.alerts.extend([(alert | {"id": "another"}, None)] * (copies - 1))


def alert_over_and_firing(seen):
    next(alert for alert, _ in seen.alerts if alert["id"] == closed_alert(seen))["state"] = "firing"


def files_kept(seen):
    seen.after["open files"] += 100


def threads_kept(seen):
    seen.after["threads"] += 100


def memory_kept(seen):
    seen.after["KiB of memory"] += 200 * 1024


def panic(seen):
    seen.output += "\nthread 'main' panicked at src/main.rs\n"


def internal_answer(seen):
    seen.internal.append("GET state: {}")


BREAKS = [
    (committed_runs, other_config_runs, "the bot runs the config"),
    (committed_runs, other_file_than_head, "another hash than HEAD"),
    (audit_holds, changed_byte, "the audit does not hold"),
    (audit_holds, missing_last_line, "the audit does not hold"),
    (audit_tells_each_end_once, end_told_twice, "the audit tells these ends"),
    (operations_end_once, fact_twice, "ended 2 times"),
    (operations_end_once, fact_lost, "not numbered from 1"),
    (operations_end_once, operation_lives_on, "never ended"),
    (admitted_is_stored, operation_forgotten, "the store does not know it"),
    (admitted_is_stored, key_began_two, "more than one operation"),
    (ledger_is_whole, ledger_line_lost, "not numbered from 1"),
    (ledger_is_whole, fill_twice, "counts twice"),
    (ledger_is_whole, fill_too_large, "were filled, and"),
    (account_is_the_sum_of_its_fills, fill_not_counted, "add up to"),
    (account_is_the_sum_of_its_fills, commission_not_counted, "add up to"),
    (commands_act_once, command_recorded_twice, "more than once, by the ledger"),
    (commands_act_once, effect_twice, "more than once, by the bot's effects"),
    (commands_act_once, command_done_anew, "done anew 2 times"),
    (commands_act_once, command_done_by_nobody, "the ledger does not know it"),
    (commands_act_once, command_without_effect_done, "without effect, and the bot carried it out"),
    (numbers_mean_one_event, other_content, "another elsewhere"),
    (numbers_mean_one_event, stream_goes_back, "the stream follower got number"),
    (followers_miss_nothing, lambda seen: swallow(seen, "journal"), "the journal follower did not get 1 events"),
    (followers_miss_nothing, lambda seen: swallow(seen, "stream"), "the stream follower did not get 1 events"),
    (no_cursor_is_refused, lambda seen: seen.told["journal"].append((9, 8)), "was refused its own cursor"),
    (gaps_begin_lives, many_gaps, "gaps after"),
    (gaps_begin_lives, gap_in_a_life, "no life of botops begins there"),
    (alerts_begin_and_end_once, end_untold, "to begin 1 times and to end 0 times"),
    (alerts_begin_and_end_once, begin_told_twice, "to begin 2 times"),
    (alerts_begin_and_end_once, alert_unknown, "was told of alert another"),
    (alerts_begin_and_end_once, alert_over_and_firing, "firing and over at once"),
    (alerts_begin_and_end_once, lambda seen: reopen(seen, 1), "did not end"),
    (alerts_begin_and_end_once, lambda seen: reopen(seen, 2), "open as two alerts"),
    (nothing_is_held_after_the_floods, files_kept, "open files before the floods"),
    (nothing_is_held_after_the_floods, threads_kept, "threads before the floods"),
    (nothing_is_held_after_the_floods, memory_kept, "KiB of memory before the floods"),
    (nothing_is_a_defect, panic, "a process panicked"),
    (nothing_is_a_defect, internal_answer, "an internal failure"),
]


def blind_invariants(seen):
    """Invariants that do not say what they must in evidence that was broken for them."""
    for holds in INVARIANTS:
        if not any(broken is holds for broken, _, _ in BREAKS):
            yield f"{holds.__name__} was never broken"
    for holds, spoil, words in BREAKS:
        broken = copy.deepcopy(seen)
        try:
            spoil(broken)
        except (StopIteration, IndexError):
            yield f"so little happened that {holds.__name__} cannot be broken ({words!r}): let it run longer"
            continue
        said = list(holds(broken))
        if not any(words in fault for fault in said):
            yield f"{holds.__name__} does not say that {words!r} in evidence that was broken for it, but {said}"
    print(f"{len(BREAKS)} kinds of broken evidence were tried", flush=True)
