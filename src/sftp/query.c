/* What ssh prints, for who has no session: --check, and who looks whether ssh_config has changed. No lock. */
#include <poll.h>
#include <unistd.h>

#include "scoutfs/child.h"
#include "scoutfs/clock.h"
#include "scoutfs/text.h"
#include "sftp/settings.h"

char *scout_settings_ask(struct scout_args *args, const char *shell, uint64_t deadline_ns)
{
	struct scout_child child = {0};
	struct scout_text text = {0};
	struct pollfd p = {.events = POLLIN};
	char buf[4096];
	uint64_t now;
	ssize_t n = -1;
	bool well;

	if (args->err || scout_child_start(&child, args->argv, shell, &p.fd))
		return NULL;
	while ((now = scout_now_ns()) < deadline_ns && text.len < SCOUT_ANSWER_MAX) {
		uint64_t left_ms = (deadline_ns - now) / SCOUT_NS_PER_MS;

		n = poll(&p, 1, (int)left_ms + 1) == 1 ? read(p.fd, buf, sizeof(buf)) : -1;
		if (n <= 0)
			break;
		scout_text_append(&text, buf, (size_t)n);
	}
	close(p.fd);
	if (n == 0)
		scout_child_wait(&child, SCOUT_ANSWER_GRACE_MS);
	well = scout_child_end(&child, SCOUT_ANSWER_GRACE_MS, NULL, 0);
	if (n || !well || text.failed) {
		scout_text_free(&text);
		return NULL;
	}
	return scout_text_take(&text);
}
