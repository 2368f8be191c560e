/* The directories of archives: read once for all who ask, kept by version, the least recently used going
 * first. A broken archive is remembered as such, so that the log tells it once; but first it is fetched
 * anew, for its bytes may have been damaged on their way.
 *
 * Reading one is a chain: its end, which mostly holds the whole directory of a small archive, then what
 * is before that, piece by piece, over the same blocks as any reader of the object. The pieces are copied
 * by whoever brings them and parsed by the workers.
 *
 * Of all archives' names there is a bounded number. A load that comes to it gives back what it has, and waits in
 * line, with nothing that another may wait for, until there is place for all that its directory can become; then
 * it begins again. Whose names fit goes past it.
 *
 * zips->lock for tables and references; a load is its current thread's alone. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "models/zip.h"
#include "models/zip_format.h"
#include "scoutfs/log.h"

#define IDLE_MAX 64
#define IDLE_BYTES SCOUT_ZIP_NAMES_MAX
/* All names, also of archives that are in use or being read. */
#define ALL_BYTES (2 * SCOUT_ZIP_NAMES_MAX)
/* No directory of n bytes has more: of each member it has 46 bytes and the name, we have an entry and the name, and
 * room for half as many again. */
#define PLACE_BYTES(n) (2 * (n) + 8192)
_Static_assert(3 * (sizeof(struct scout_zip_entry) + 1) <= 2 * 2 * 46, "names outgrow their place");

struct scout_zip_load {
	struct scout_zip_job job;
	struct scout_req req;
	struct scout_models *m;
	struct scout_zip *zip;      /* one reference */
	struct scout_answer answer; /* but for what is borrowed in it */
	struct scout_models_file *file;
	struct scout_zip_reader reader;
	bool anew;    /* it came damaged once */
	bool reading; /* the directory: else the archive's end */
	uint64_t at;  /* of the bytes asked for */
	size_t want, got;
	size_t counted; /* in zips->names_bytes */
	size_t place;   /* of these, kept for it: it waited; or 0 */
	bool waits;     /* under zips->lock: in zips->line */
	TAILQ_ENTRY(scout_zip_load) link;
	int err;        /* of the read */
	uint8_t *bytes; /* SCOUT_BUF_BYTES */
};

_Static_assert(SCOUT_ZIP_TAIL <= SCOUT_BUF_BYTES, "the end is one piece");

/* ---- references ---- */

static void zip_free(struct scout_models *m, struct scout_zip *zip)
{
	atomic_fetch_sub(&m->zips->names_bytes, scout_zip_names_memory(&zip->names));
	scout_zip_names_destroy(&zip->names);
	free(zip);
}

static void unlist_locked(struct scout_zips *z, struct scout_zip *zip)
{
	if (zip->listed)
		HASH_DEL(z->archives, zip);
	zip->listed = false;
}

static void unidle_locked(struct scout_zips *z, struct scout_zip *zip)
{
	if (!zip->is_idle)
		return;
	TAILQ_REMOVE(&z->idle, zip, link);
	zip->is_idle = false;
	z->nidle--;
	z->idle_bytes -= scout_zip_names_memory(&zip->names);
}

/* Takes idle ones out until no more than these are left; they are to be freed without the lock. */
static void trim_locked(struct scout_zips *z, unsigned most, size_t most_bytes,
			struct scout_zip_list *gone)
{
	while (z->nidle > most || z->idle_bytes > most_bytes) {
		struct scout_zip *zip = TAILQ_FIRST(&z->idle);

		unidle_locked(z, zip);
		unlist_locked(z, zip);
		TAILQ_INSERT_TAIL(gone, zip, link);
	}
}

static void free_all(struct scout_models *m, struct scout_zip_list *gone)
{
	struct scout_zip *zip;

	while ((zip = TAILQ_FIRST(gone))) {
		TAILQ_REMOVE(gone, zip, link);
		zip_free(m, zip);
	}
}

static void leave_line_locked(struct scout_zips *z, struct scout_zip_load *l)
{
	TAILQ_REMOVE(&z->line, l, link);
	l->waits = false;
	atomic_fetch_sub(&z->nline, 1);
}

/* Counts more bytes of names. False: they are too many with them, and not counted. */
static bool count_names(struct scout_zips *z, size_t more)
{
	if (atomic_fetch_add(&z->names_bytes, more) + more <= ALL_BYTES)
		return true;
	atomic_fetch_sub(&z->names_bytes, more);
	return false;
}

/* Lets those in line go on that have place, of which there may be more now. Nothing is idle then while any wait. No
 * lock held. */
static void let_in(struct scout_models *m)
{
	struct scout_zip_list gone = TAILQ_HEAD_INITIALIZER(gone);
	struct scout_zips *z = m->zips;
	struct scout_zip_load *l;
	bool more = atomic_load(&z->nline) > 0;

	while (more) {
		scout_lock(&z->lock);
		while ((l = TAILQ_FIRST(&z->line)) && count_names(z, l->place)) {
			l->counted = l->place;
			leave_line_locked(z, l);
			scout_zip_hurry(z->work, &l->job);
		}
		more = l && !TAILQ_EMPTY(&z->idle);
		if (more)
			trim_locked(z, 0, 0, &gone);
		scout_unlock(&z->lock);
		free_all(m, &gone);
	}
}

void scout_zip_ref(struct scout_models *m, struct scout_zip *zip)
{
	scout_lock(&m->zips->lock);
	zip->refs++;
	scout_unlock(&m->zips->lock);
}

void scout_zip_put(struct scout_models *m, struct scout_zip *zip)
{
	struct scout_zip_list gone = TAILQ_HEAD_INITIALIZER(gone);
	struct scout_zips *z = m->zips;

	if (!zip)
		return;
	scout_lock(&z->lock);
	if (--zip->refs == 0 && zip->listed) {
		TAILQ_INSERT_TAIL(&z->idle, zip, link);
		zip->is_idle = true;
		z->nidle++;
		z->idle_bytes += scout_zip_names_memory(&zip->names);
		trim_locked(z, IDLE_MAX, IDLE_BYTES, &gone);
	} else if (zip->refs == 0) {
		TAILQ_INSERT_TAIL(&gone, zip, link);
	}
	scout_unlock(&z->lock);
	free_all(m, &gone);
	let_in(m);
}

void scout_zip_archives_destroy(struct scout_models *m)
{
	struct scout_zip_list gone = TAILQ_HEAD_INITIALIZER(gone);

	scout_lock(&m->zips->lock);
	trim_locked(m->zips, 0, 0, &gone);
	assert(!m->zips->archives);
	scout_unlock(&m->zips->lock);
	free_all(m, &gone);
}

/* Takes zip out of the table, to be freed without the lock unless somebody has it. */
static void drop_locked(struct scout_zips *z, struct scout_zip *zip, struct scout_zip_list *gone)
{
	unlist_locked(z, zip);
	if (zip->is_idle) {
		unidle_locked(z, zip);
		TAILQ_INSERT_TAIL(gone, zip, link);
	}
}

void scout_zip_forget(struct scout_models *m, struct scout_object *o)
{
	struct scout_zip_list gone = TAILQ_HEAD_INITIALIZER(gone);
	const char *path = o->key + strlen(m->config->prefix);
	struct scout_zips *z = m->zips;
	struct scout_zip *zip;

	scout_object_forget(m, o);
	scout_lock(&z->lock);
	HASH_FIND_STR(z->archives, path, zip);
	if (zip && zip->version == o->version)
		drop_locked(z, zip, &gone);
	scout_unlock(&z->lock);
	free_all(m, &gone);
}

/* ---- reading ---- */

static void tell_left_out(const struct scout_zip *zip)
{
	const struct scout_zip_names *n = &zip->names;
	size_t bad = 0;
	char name[256];

	for (int kind = SCOUT_KEY_LEFT_OUT; kind < SCOUT_KEY_KINDS; kind++)
		bad += n->left_out[kind];
	if (bad + n->replaced > 0)
		scout_warn(
		    "models: '%s': left out %zu members whose names cannot be file names, and "
		    "%zu of which a later one has the name",
		    scout_format_name(name, sizeof(name), zip->path), bad, n->replaced);
}

/* An archive of which nothing could be opened. */
static bool all_encrypted(const struct scout_zip_names *n)
{
	size_t files = 0, encrypted = 0;

	for (size_t i = 0; i < n->count; i++) {
		files += !n->entries[i].dir;
		encrypted += !n->entries[i].dir && n->entries[i].refusal == SCOUT_ZIP_ENCRYPTED;
	}
	return files > 0 && files == encrypted;
}

/* The end of l. err: 0; -EIO with why, -EFBIG: it is broken; another: it could not be read now. */
static void finish(struct scout_zip_load *l, int err, const char *why)
{
	struct scout_models *m = l->m;
	struct scout_zip *zip = l->zip;
	TAILQ_HEAD(, scout_zip_waiter) waiters = TAILQ_HEAD_INITIALIZER(waiters);
	struct scout_zip_waiter *w;
	char name[256];

	scout_format_name(name, sizeof(name), zip->path);
	if (err == -EFBIG)
		why = "its names are too many";
	if (err == 0 && all_encrypted(&zip->names)) {
		err = -EIO;
		why = "it is encrypted";
	}
	if (why)
		scout_warn("models: '%s': not shown as a folder: %s", name, why);
	if (err == 0)
		tell_left_out(zip);
	else
		scout_zip_names_destroy(&zip->names);
	scout_zip_reader_destroy(&l->reader);
	if (l->file)
		scout_models_file_close(m, l->file);

	atomic_fetch_sub(&m->zips->names_bytes, l->counted - scout_zip_names_memory(&zip->names));
	scout_lock(&m->zips->lock);
	zip->loaded = true;
	zip->err = why ? err : 0;
	if (err < 0 && !why)
		unlist_locked(m->zips, zip);
	TAILQ_CONCAT(&waiters, &zip->waiters, link);
	TAILQ_FOREACH (w, &waiters, link)
		zip->refs++;
	scout_unlock(&m->zips->lock);
	while ((w = TAILQ_FIRST(&waiters))) {
		TAILQ_REMOVE(&waiters, w, link);
		if (err < 0)
			scout_zip_put(m, zip);
		w->got(w, err, err == 0 ? zip : NULL);
	}
	scout_zip_put(m, zip);
	free(l->bytes);
	free(l);
}

/* Any thread. */
static void bytes_came(struct scout_req *req, int err, const struct scout_result *res)
{
	struct scout_zip_load *l =
	    (struct scout_zip_load *)((char *)req - offsetof(struct scout_zip_load, req));

	for (int i = 0; err == 0 && i < res->data.count; i++) {
		size_t n = res->data.iov[i].iov_len;

		if (n > l->want - l->got)
			n = l->want - l->got;
		memcpy(l->bytes + l->got, res->data.iov[i].iov_base, n);
		l->got += n;
	}
	if (err == 0 && l->got < l->want)
		err = -EIO;
	l->err = err;
	scout_zip_post(l->m->zips->work, &l->job);
}

static void ask(struct scout_zip_load *l, uint64_t at, uint64_t most)
{
	l->at = at;
	l->got = 0;
	l->want = most < SCOUT_BUF_BYTES ? (size_t)most : SCOUT_BUF_BYTES;
	scout_read(l->m, l->file, at, l->want, l->file->proved, &l->req);
}

/* False: all archives together have too many names now. */
static bool count_memory(struct scout_zip_load *l)
{
	size_t now = scout_zip_names_memory(&l->zip->names);
	struct scout_zip_list gone = TAILQ_HEAD_INITIALIZER(gone);
	struct scout_zips *z = l->m->zips;

	if (now <= l->counted)
		return true;
	if (!count_names(z, now - l->counted)) {
		scout_lock(&z->lock);
		trim_locked(z, 0, 0, &gone);
		scout_unlock(&z->lock);
		free_all(l->m, &gone);
		if (!count_names(z, now - l->counted))
			return false;
	}
	l->counted = now;
	return true;
}

/* What came is len bytes of the directory. -EAGAIN: there is no place for its names. */
static int take(struct scout_zip_load *l, const uint8_t *bytes, size_t len, const char **why)
{
	int err = scout_zip_reader_take(&l->reader, bytes, len, why);

	return err == 0 && !count_memory(l) ? -EAGAIN : err;
}

/* The archive's end is there; the directory, or what of it is not in there, is to be asked for. */
static int take_end(struct scout_zip_load *l, const char **why)
{
	struct scout_zip_end end;
	int err = scout_zip_find_end(l->bytes, l->got, l->file->object->cut.bytes, &end, why);

	if (err < 0)
		return err;
	l->reading = true;
	scout_zip_reader_init(&l->reader, &end, &l->zip->names);
	return end.start >= l->at ? take(l, l->bytes + (end.start - l->at), (size_t)end.bytes, why)
				  : 0;
}

static void begin(struct scout_zip_load *l)
{
	int err = scout_models_file_open(l->m, l->zip->path, &l->answer, &l->file);
	uint64_t bytes = l->answer.bytes, tail = bytes < SCOUT_ZIP_TAIL ? bytes : SCOUT_ZIP_TAIL;

	if (!l->bytes)
		l->bytes = malloc(SCOUT_BUF_BYTES);
	if (err == 0 && !l->bytes)
		err = -ENOMEM;
	if (err < 0)
		finish(l, err, NULL);
	else if (bytes == 0)
		finish(l, -EIO, "it is empty");
	else
		ask(l, bytes - tail, tail);
}

/* Members that no program packs so, yet a wrong byte makes. */
static bool looks_damaged(const struct scout_zip_names *n)
{
	for (size_t i = 0; i < n->count; i++) {
		switch ((enum scout_zip_refusal)n->entries[i].refusal) {
		case SCOUT_ZIP_BOMB:
		case SCOUT_ZIP_SIZES:
		case SCOUT_ZIP_OUTSIDE:
		case SCOUT_ZIP_OVERLAPS:
			return true;
		case SCOUT_ZIP_FINE:
		case SCOUT_ZIP_ENCRYPTED:
		case SCOUT_ZIP_METHOD:
			break;
		}
	}
	return false;
}

/* Gives back all that was read. */
static void give_back(struct scout_zip_load *l)
{
	l->reading = false;
	scout_zip_reader_destroy(&l->reader);
	scout_zip_names_destroy(&l->zip->names);
	atomic_fetch_sub(&l->m->zips->names_bytes, l->counted);
	l->counted = l->place = 0;
	scout_models_file_close(l->m, l->file);
	l->file = NULL;
	free(l->bytes);
	l->bytes = NULL;
}

static void begin_anew(struct scout_zip_load *l)
{
	l->anew = true;
	scout_object_forget(l->m, l->file->object);
	give_back(l);
	let_in(l->m);
	begin(l);
}

static void no_place(struct scout_zip_load *l)
{
	char name[256];

	scout_warn("models: '%s': not shown as a folder now: too many large archives are open as "
		   "folders at once",
		   scout_format_name(name, sizeof(name), l->zip->path));
	finish(l, -ENOMEM, NULL);
}

static void step(struct scout_zip_job *job);

/* l has its place, or has waited for long enough. */
static void waited(struct scout_zip_job *job)
{
	struct scout_zip_load *l = (struct scout_zip_load *)job;
	struct scout_zips *z = l->m->zips;
	bool late;

	scout_lock(&z->lock);
	late = l->waits;
	if (late)
		leave_line_locked(z, l);
	scout_unlock(&z->lock);
	l->job.run = step;
	if (!late)
		begin(l);
	else if (atomic_load(&l->m->stopped))
		finish(l, -ESHUTDOWN, NULL);
	else
		no_place(l);
}

/* Others' names leave no place for l's. */
static void wait_for_place(struct scout_zip_load *l)
{
	uint64_t most = PLACE_BYTES(l->reader.end.bytes);
	struct scout_models *m = l->m;
	struct scout_zips *z = m->zips;
	bool waits;

	if (l->place) { /* its directory is not what it was */
		no_place(l);
		return;
	}
	give_back(l);
	l->place = most < SCOUT_ZIP_NAMES_MAX ? (size_t)most : SCOUT_ZIP_NAMES_MAX;
	l->job.run = waited;
	scout_lock(&z->lock);
	waits = scout_zip_put_off(z->work, &l->job, m->config->timeout_ns);
	if (waits) {
		l->waits = true;
		TAILQ_INSERT_TAIL(&z->line, l, link);
		atomic_fetch_add(&z->nline, 1);
	}
	scout_unlock(&z->lock);
	if (waits)
		let_in(m); /* also who came to it for l's names, which are gone */
	else
		finish(l, -ESHUTDOWN, NULL);
}

static void step(struct scout_zip_job *job)
{
	struct scout_zip_load *l = (struct scout_zip_load *)job;
	const char *why = NULL;
	int err = l->err;
	uint64_t left = 0;

	if (err == 0)
		err = l->reading ? take(l, l->bytes, l->got, &why) : take_end(l, &why);
	if (l->reading && !l->reader.over)
		left = l->reader.end.bytes - l->reader.taken;
	if (err == 0 && left == 0)
		err = scout_zip_reader_finish(&l->reader, &why);
	if (err == -EAGAIN)
		wait_for_place(l);
	else if (err == 0 && left > 0)
		ask(l, l->reader.end.start + l->reader.taken, left);
	else if (!l->anew && (why || err == -EFBIG || (err == 0 && looks_damaged(&l->zip->names))))
		begin_anew(l);
	else
		finish(l, err, why);
}

/* ---- asking ---- */

/* The one of this version, with one more reference; another's place is made free. */
static struct scout_zip *find_locked(struct scout_zips *z, const char *path, uint64_t version,
				     struct scout_zip_list *gone)
{
	struct scout_zip *zip;

	HASH_FIND_STR(z->archives, path, zip);
	if (zip && zip->version == version) {
		unidle_locked(z, zip);
		zip->refs++;
		return zip;
	}
	if (zip && gone)
		drop_locked(z, zip, gone);
	return NULL;
}

/* With one reference: its load's. */
static struct scout_zip *zip_new(const char *path, const struct scout_answer *answer)
{
	size_t len = strlen(path) + 1;
	struct scout_zip *zip = calloc(1, sizeof(*zip) + len);

	if (!zip)
		return NULL;
	zip->version = answer->version;
	zip->modified = answer->modified;
	zip->refs = 1;
	TAILQ_INIT(&zip->waiters);
	memcpy(zip->path, path, len);
	return zip;
}

static struct scout_zip_load *load_new(struct scout_models *m, const char *path,
				       const struct scout_answer *answer)
{
	struct scout_zip_load *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->job.run = step;
	l->req.done = bytes_came;
	l->m = m;
	l->answer = *answer;
	l->zip = zip_new(path, answer);
	if (!l->zip) {
		free(l);
		return NULL;
	}
	return l;
}

static void hand_out(struct scout_models *m, struct scout_zip *zip, struct scout_zip_waiter *w)
{
	int err = zip->err;

	if (err < 0)
		scout_zip_put(m, zip);
	w->got(w, err, err == 0 ? zip : NULL);
}

void scout_zip_get(struct scout_models *m, const char *path, const struct scout_answer *answer,
		   struct scout_zip_waiter *w)
{
	struct scout_zip_list gone = TAILQ_HEAD_INITIALIZER(gone);
	struct scout_zip_load *l = load_new(m, path, answer);
	struct scout_zips *z = m->zips;
	struct scout_zip *zip = NULL;
	bool loaded = false;

	scout_lock(&z->lock);
	if (l)
		zip = find_locked(z, path, answer->version, &gone);
	if (zip) {
		loaded = zip->loaded;
		if (!loaded) {
			TAILQ_INSERT_TAIL(&zip->waiters, w, link);
			zip->refs--; /* it gets one when it is told */
		}
	} else if (l) {
		HASH_ADD_STR(z->archives, path, l->zip);
		l->zip->listed = l->zip->hh.tbl != NULL; /* else it works, but is not shared */
		TAILQ_INSERT_TAIL(&l->zip->waiters, w, link);
	}
	scout_unlock(&z->lock);
	free_all(m, &gone);
	if (!l) {
		w->got(w, -ENOMEM, NULL);
		return;
	}
	if (!zip) {
		begin(l);
		return;
	}
	free(l->zip);
	free(l);
	if (loaded)
		hand_out(m, zip, w);
}

struct scout_zip *scout_zip_known(struct scout_models *m, const char *path, uint64_t version,
				  int *err)
{
	struct scout_zips *z = m->zips;
	struct scout_zip *zip;
	bool loaded;

	*err = 0;
	scout_lock(&z->lock);
	zip = find_locked(z, path, version, NULL);
	loaded = zip && zip->loaded;
	if (zip && !loaded) {
		zip->refs--; /* its load has one */
		zip = NULL;
	}
	scout_unlock(&z->lock);
	if (zip && zip->err < 0) {
		*err = zip->err;
		scout_zip_put(m, zip);
		zip = NULL;
	}
	return zip;
}
