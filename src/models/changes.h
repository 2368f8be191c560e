/* What this mount has changed in the registry, and its listings do not know yet. */
#ifndef MODELS_CHANGES_H
#define MODELS_CHANGES_H

#include "models/upload.h"

enum scout_change_kind {
	SCOUT_CHANGE_NONE,
	SCOUT_CHANGE_FOLDER,
	SCOUT_CHANGE_FILE,
	SCOUT_CHANGE_GONE
};

struct scout_changed {
	char *name;
	enum scout_change_kind kind;
	struct scout_attr attr; /* of FILE */
	uint64_t at_ns;
	bool seen; /* the caller's, false at first */
};

/* attr: as it is now. */
void scout_changes_published(struct scout_publisher *pub, const char *path,
			     const struct scout_attr *attr);
void scout_changes_removed(struct scout_publisher *pub, const char *path);
/* A folder without anything in it, which S3 cannot have. Returns 0, -ENOMEM, or -ENOSPC beyond a thousand in which no
 * object was published yet. */
int scout_changes_mkdir(struct scout_publisher *pub, const char *path);
enum scout_change_kind scout_changes_find(struct scout_publisher *pub, const char *path);
/* Whether a folder is below the folder path; and whether anything is that a listing may lack. */
bool scout_changes_folder_below(struct scout_publisher *pub, const char *path);
bool scout_changes_any(struct scout_publisher *pub, const char *path);
/* Folder's own names that a listing begun at listed_ns may lack, by strcmp(), for scout_changes_drop.
 * Returns how many, or -ENOMEM. */
ssize_t scout_changes_list(struct scout_publisher *pub, const char *folder, uint64_t listed_ns,
			   struct scout_changed **ret);
void scout_changes_drop(struct scout_changed *list, ssize_t count);
void scout_changes_destroy(struct scout_publisher *pub);

#endif
