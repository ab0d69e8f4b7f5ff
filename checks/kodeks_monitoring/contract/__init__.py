"""What a plugin owes the engine that runs it (Nagios, Icinga, NRPE, Zabbix): one line and an exit code.

nagiosplugin supplies Resource, Context, Range, Metric, Summary and the form of perfdata; the rest is here.
Sources: Monitoring Plugins Development Guidelines (exit codes, ranges, perfdata, -h and -V exit 3), the
Monitoring Plugins' page "extra-opts" (ini files), monitoring-plugins issue 1890 (`-t SECONDS[:STATE]`).
"""
