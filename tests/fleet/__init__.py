"""A thousand Kodeks hosts behind one Zabbix proxy: a real server, a real proxy, real plugin lines, simulated agents."""
