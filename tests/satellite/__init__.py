"""A thousand Kodeks hosts behind an Icinga 2 satellite: two real daemons, the shipped definitions, recorded plugin lines."""
