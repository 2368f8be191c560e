/* Files with writes of ours under way; nothing can be written yet, so there are none. */
#include "hosts/node.h"

bool scout_node_settle(struct scout_host *host, const char *path, struct scout_settle *w)
{
	(void)host, (void)path, (void)w;
	return true;
}

void scout_node_changed(struct scout_host *host, const char *path)
{
	(void)host, (void)path;
}

void scout_node_unlinked(struct scout_host *host, const char *path)
{
	(void)host, (void)path;
}

void scout_node_renamed(struct scout_host *host, const char *path, const char *newpath)
{
	(void)host, (void)path, (void)newpath;
}
