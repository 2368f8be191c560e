/* Open directories of a host: a listing fetched ahead of its reader, several READDIRs at a time. */
#ifndef SCOUTFS_HOSTS_DIR_H
#define SCOUTFS_HOSTS_DIR_H

#include "hosts/hosts.h"
#include "hosts/names.h"

/* What each handle of opendir begins with. */
enum scout_dir_kind { SCOUT_DIR_REMOTE, SCOUT_DIR_ROOT };

struct scout_dir;

/* Completes req with a handle for the remote path. unasked: for nobody who would miss it, so that no failure
 * is logged. */
void scout_dir_open(struct scout_host *host, const char *path, bool unasked, struct scout_req *req);
/* The same, with names as the listing, which the directory takes over. */
void scout_dir_open_listed(struct scout_host *host, const char *path, struct scout_names *names,
			   struct scout_req *req);
void scout_dir_read(struct scout_dir *dir, uint64_t index, struct scout_req *req);
void scout_dir_release(struct scout_dir *dir);
/* After the server renamed path: what is open there, or below it, is listed from newpath on. */
void scout_dirs_renamed(struct scout_host *host, const char *path, const char *newpath);

/* A name a remote may give to an entry. */
bool scout_dir_name_ok(const char *name);

#endif
