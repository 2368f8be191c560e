/* The effective config as an ini that loads to the same config again (but for secrets). */
#include "config/keys.h"
#include "scoutfs/config.h"

static void print_section(const struct scout_config *c, enum scout_section section, FILE *out)
{
	fprintf(out, "[%s]\n", scout_section_name(section));
	for (size_t i = 0; i < scout_key_count; i++) {
		const struct scout_key *key = &scout_keys[i];
		bool inherited = key->sections & SCOUT_SECTION_HOST;

		if (key->sections & section)
			scout_key_print(key, inherited ? &c->defaults : (const void *)c, out);
	}
	fputc('\n', out);
}

static void print_host(const struct scout_config *c, const struct scout_host_config *host,
		       FILE *out)
{
	fprintf(out, "# %s: from %s\n", host->name,
		!host->in_ini         ? "ssh_config"
		: host->in_ssh_config ? "the ini and ssh_config"
				      : "the ini");
	if (!host->in_ini)
		return;
	fprintf(out, "[host %s]\n", host->name);
	for (size_t i = 0; i < scout_key_count; i++) {
		const struct scout_key *key = &scout_keys[i];

		if ((key->sections & SCOUT_SECTION_HOST) &&
		    !scout_key_equal(key, host, &c->defaults))
			scout_key_print(key, host, out);
	}
}

void scout_config_print(const struct scout_config *c, FILE *out)
{
	print_section(c, SCOUT_SECTION_SCOUTFS, out);
	print_section(c, SCOUT_SECTION_HOSTS, out);
	if (c->models.bucket)
		print_section(c, SCOUT_SECTION_MODELS, out);
	else
		fprintf(out, "# no bucket in [models], so no /models\n\n");
	if (c->match_exec_at)
		fprintf(out, "# not run: Match exec (%s), without match_exec = yes\n",
			c->match_exec_at);
	fprintf(out, "# hosts: %zu\n", c->nhosts);
	for (size_t i = 0; i < c->nhosts; i++)
		print_host(c, &c->hosts[i], out);
}
