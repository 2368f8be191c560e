/* What is asked of far hosts ahead of those who need it: over a distance, a folder whose files are looked at one
 * by one is listed once instead, since a listing carries the attributes of all (ahead.c); and of those who go
 * through folders one after the other, or through the files in them, it is known what comes next
 * (ahead_walk.c). */
#ifndef SCOUTFS_HOSTS_AHEAD_H
#define SCOUTFS_HOSTS_AHEAD_H

#include "hosts/hosts.h"
#include "hosts/names.h"

/* What a listing of path's folder says of path (a remote one, absolute), and for how long that may still be
 * believed. False: the server has to be asked; that is noted, and may begin a listing. No lock held. */
bool scout_ahead_find(struct scout_host *host, const char *path, struct scout_attr *ret,
		      uint32_t *ttl_ms);
/* The server said just now what path is (NULL: not there): a listing that says something else is not believed
 * any more. */
void scout_ahead_saw(struct scout_host *host, const char *path, const struct scout_attr *attr);
/* As scout_dir_open, of a listing that is there already, if there is one. */
void scout_ahead_opendir(struct scout_host *host, const char *path, struct scout_req *req);
/* path was listed for who opened it; what is left in names is the caller's. No lock held. */
void scout_ahead_listed(struct scout_host *host, const char *path, struct scout_names *names);
/* Somebody reads path, which he has opened. No lock held. */
void scout_ahead_read(struct scout_host *host, const char *path);
/* A file was not as it is listed, or a folder is too large to be listed ahead: nothing of that kind is asked for
 * ahead beside path for a while. No lock held. */
void scout_ahead_misled(struct scout_host *host, const char *path, enum scout_kind kind);
/* The host is about to be freed. */
void scout_ahead_forget(struct scout_host *host);

void scout_aheads_init(struct scout_aheads *all);
/* Nobody lists any more. */
void scout_aheads_free(struct scout_aheads *all);

#endif
