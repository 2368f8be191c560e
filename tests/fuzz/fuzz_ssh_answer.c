/* Any bytes as what `ssh -G` prints, for a host and for the hops on the way to it: no name, user or jump
 * host that reads as an option comes out of it, and only words that we put there stand before "--". The
 * answer without an ssh_config follows behind a NUL. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "scoutfs/config.h"
#include "sftp/proxy.h"
#include "sftp/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_way(const struct scout_host_config *host, const struct scout_settings *t,
		      const char *text, const char *usual)
{
	struct scout_hops hops = {0};
	struct scout_args args = {0};

	if (t->proxy_jump && scout_hops_prepend(&hops, t->proxy_jump)) {
		if (hops.count)
			abort();
		return;
	}
	for (size_t i = 0; i < hops.count; i++) {
		if (hops.hop[i].host[0] == '-' || !hops.hop[i].host[0] ||
		    (hops.hop[i].user && hops.hop[i].user[0] == '-'))
			abort();
		hops.hop[i].answer = strdup(text);
	}
	if (!scout_settings_proxy(host, t, &hops, usual, 7, &args) && hops.count) {
		for (size_t i = 1; i + 2 < args.count; i++)
			if (args.argv[i][0] != '-' && strcmp(args.argv[i], "none") != 0)
				abort();
		if (strcmp(args.argv[args.count - 2], "--") != 0)
			abort();
	}
	scout_args_free(&args);
	scout_hops_free(&hops);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct scout_host_config host = {
	    .name = "web", .root = "/", .ssh_config = "/c", .known_hosts = "/k"};
	struct scout_settings t;
	char *text = malloc(size + 2), *usual;

	if (!text)
		return 0;
	memcpy(text, data, size);
	memset(text + size, 0, 2);
	usual = text + strlen(text) + 1;
	if (!scout_settings_load(&host, text, usual, &t)) {
		if (t.hostname[0] == '-' || t.user[0] == '-' || !t.port || t.port > 65535)
			abort();
		check_way(&host, &t, text, usual);
		scout_settings_free(&t);
	}
	free(text);
	return 0;
}
