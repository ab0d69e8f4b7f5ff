"""What a plugin owes the engine that runs it (Nagios, Icinga, NRPE, a Zabbix agent).

An engine sees two things: the first line that a plugin prints, and its exit code. So

* every way out ends with exit 0..3 and one first line, in one write of at most 4000 bytes (`verdict`);
* a watchdog ends the process on time, whatever hangs (`deadline`);
* a failure that nobody foresaw is a sentence, not a traceback (`failures`);
* a misspelt option or an unreadable file is a sentence that says what to do (`options`, `private_files`).

nagiosplugin supplies Resource, Context, Range, Metric, Summary and the form of perfdata; `run` runs its
checks. Sources: Monitoring Plugins Development Guidelines (exit codes, ranges, perfdata, -h and -V exit 3),
the Monitoring Plugins' page "extra-opts" (ini files), monitoring-plugins issue 1890 (`-t SECONDS[:STATE]`).
"""
