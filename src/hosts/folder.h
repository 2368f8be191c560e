/* The folders of far hosts that somebody looks into: what was listed of them, who goes through them, and their
 * listings that are made ahead of whoever needs them. Private to ahead.c, ahead_walk.c and folder.c. */
#ifndef SCOUTFS_HOSTS_FOLDER_H
#define SCOUTFS_HOSTS_FOLDER_H

#include "hosts/hosts.h"
#include "hosts/names.h"
#include "hosts/walk.h"

#define SCOUT_FOLDER_SEEN 8 /* answers that a listing has to agree with */
/* One that is too large, cannot be listed, or is not as listed. */
#define SCOUT_LEFT_ALONE_NS (60 * SCOUT_NS_PER_S)

/* Whoever opens a folder that is being listed. */
struct scout_opener {
	TAILQ_ENTRY(scout_opener) link;
	struct scout_req *req;
};
TAILQ_HEAD(scout_openers, scout_opener);

struct scout_folder {
	TAILQ_ENTRY(scout_folder) link;
	/* under aheads->lock, all of it */
	struct scout_host *host; /* no reference: scout_ahead_forget */
	char *path;
	uint64_t used_ns; /* when somebody came to it, or to what lies in it */
	struct scout_names names;
	bool wrong;   /* something there is not as names say */
	bool fresh;   /* names were made for who walks, and have not been given out */
	bool busy;    /* is being listed, */
	bool walking; /* for who walks */
	struct scout_openers openers; /* wait for that */
	uint64_t not_before_ns;
	/* of looks at files */
	unsigned asked;
	uint64_t last_name; /* a hash of it */
	uint64_t asked_ns;
	/* of walks */
	uint64_t ino; /* 0: not known */
	struct scout_walk walks[SCOUT_KINDS];
	uint64_t walks_after_ns[SCOUT_KINDS]; /* nothing is asked for ahead until then */
	unsigned below;    /* files of a folder in it were read in these orders: bits; */
	uint64_t below_ns; /* then */
	struct {
		uint64_t name; /* a hash of it */
		bool there;
		struct scout_attr attr;
	} seen[SCOUT_FOLDER_SEEN];    /* the last answers of the server, in a ring */
	unsigned nseen, seen_changes; /* the host's changes then */
};
TAILQ_HEAD(scout_folders, scout_folder);

/* The folder of path's first len bytes, or NULL. */
struct scout_folder *scout_folder_find_locked(struct scout_host *host, const char *path,
					      size_t len);
/* The same, for who comes to it: moved behind all others. For a new one another makes place, which is for the caller to
 * free: one that is of no use, or else the one that was used least recently. NULL: all are being listed, or no
 * memory. */
struct scout_folder *scout_folder_get_locked(struct scout_host *host, const char *path, size_t len,
					     struct scout_folders *evicted);
/* The same, for one that somebody may come to: NULL, too, when it may not be listed now, or when all others are of
 * use. No pointer to a folder that was used since now_ns is made invalid by it. */
struct scout_folder *scout_folder_plan_locked(struct scout_host *host, const char *path,
					      uint64_t now_ns, struct scout_folders *evicted);
/* f is used: the next ones that need place do not take its. */
void scout_folder_touch_locked(struct scout_folder *f);
/* Their hosts may be gone. No lock held. */
void scout_folder_free_all(struct scout_folders *list);

/* f's listing is half as old as it may be, or there is none. */
bool scout_folder_old_locked(const struct scout_folder *f, uint64_t now_ns);
/* f may be listed now. */
bool scout_folder_ready_locked(const struct scout_folder *f, uint64_t now_ns);
/* Whether names may be believed as of now; and given out as a listing. */
bool scout_folder_valid_locked(const struct scout_folder *f, uint64_t now_ns);
/* Takes names, which were sorted, over and gives the old ones back in their place, if no answer of late
 * contradicts them. */
bool scout_folder_install_locked(struct scout_folder *f, struct scout_names *names);
void scout_folder_saw_locked(struct scout_folder *f, const char *name,
			     const struct scout_attr *attr);
/* A listing that was made for who walks is of no use any more. */
void scout_folder_stale_locked(struct scout_folder *f);
uint64_t scout_folder_hash(const char *name);

/* Its listings say of links what LSTAT says, as far as can be told from what it offers. */
bool scout_folder_lists_well(struct scout_host *host);
/* Lists the folder, which was marked as busy, and takes path over. No lock held. */
void scout_folder_list(struct scout_host *host, char *path);

/* ahead_walk.c */
/* A listing of path, which is not the host's root, for who walks is over, or failed: openers, which waited for it,
 * are served. No lock held. */
void scout_ahead_over(struct scout_host *host, const char *path, struct scout_openers *openers);

#endif
