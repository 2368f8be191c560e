/* The S3 engine: one thread with one curl_multi handle, which alone touches libcurl. It signs
 * (Signature Version 4), sends, retries what may succeed, resumes a cut body where it stopped, asks once
 * more for what hangs, sends less when the endpoint asks for it, and hands over bytes as they come. At most max_connections requests are on their way, a few of which
 * only small ones may be: HEAD, LIST and GETs of up to 256 KiB, which also go first. Others wait for
 * their flow's turn.
 *
 * API: GetObject, HeadObject, ListObjectsV2, ListObjectVersions of the Amazon S3 API reference; and for
 * uploads PutObject, DeleteObject, CreateMultipartUpload, UploadPart, CompleteMultipartUpload, AbortMultipartUpload,
 * ListMultipartUploads. */
#ifndef SCOUTFS_S3_H
#define SCOUTFS_S3_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <time.h>

struct scout_models_config;
struct scout_s3;
struct scout_s3_flow;

#define SCOUT_ETAG_MAX 128 /* with its quotes and NUL */

#define SCOUT_SHA256_MAX 65 /* in hex, with NUL */

#define SCOUT_S3_MARK "x-amz-meta-scoutfs-upload"

enum scout_s3_op {
	SCOUT_S3_GET,
	SCOUT_S3_HEAD,
	SCOUT_S3_LIST,
	SCOUT_S3_LIST_VERSIONS,
	SCOUT_S3_PUT,    /* a whole object */
	SCOUT_S3_DELETE, /* of what is not there: 0 or -ENOENT */
	SCOUT_S3_CREATE, /* begins a multipart upload; data() gets its id (scout_s3_parse_upload_id) */
	SCOUT_S3_PART,     /* one part of it */
	SCOUT_S3_COMPLETE, /* makes it the object */
	SCOUT_S3_ABORT,    /* ends it without a trace */
	SCOUT_S3_UPLOADS,  /* lists those under way; data() gets a page (scout_s3_parse_uploads) */
};

static inline bool scout_s3_is_listing(enum scout_s3_op op)
{
	return op == SCOUT_S3_LIST || op == SCOUT_S3_LIST_VERSIONS;
}

/* One request, embedded in the caller's struct, which lives until done is called. */
struct scout_s3_call {
	/* set by the caller, unchanged until done */
	enum scout_s3_op op;
	const char *key;      /* but LIST, UPLOADS: the whole key, raw bytes (prefix included) */
	uint64_t offset;      /* GET: range [offset, offset + length) */
	uint64_t length;      /* GET: more than 0 */
	const char *if_match; /* GET: the ETag to pin, quotes and all, or NULL */
	/* GET: of what may be another object by now. If that is shorter, so is length, before the first data; and
	 * no failure is logged before somebody waits for it and has set if_match, on the engine's thread. */
	bool guess;
	const char *version_id; /* GET, HEAD: of a version that is not the newest, or NULL */
	bool checksums;         /* HEAD: the object's checksums are asked for, too */
	const void *flow;       /* who asks, compared only: flows are served in turn; or NULL */
	uint64_t not_before_ns; /* is sent then at the soonest, a second later at most; 0: now */
	const char *prefix;     /* LIST, LIST_VERSIONS, UPLOADS */
	const char *delimiter;  /* LIST, LIST_VERSIONS: "/" or NULL */
	const char
	    *continuation; /* likewise: token of the page before, or NULL; UPLOADS: its last id */
	const char
	    *version_marker;     /* LIST_VERSIONS: the second token of the page before, or NULL */
	const char *start_after; /* LIST, UPLOADS: a key, or NULL */
	unsigned max_keys;       /* listings: 1 to 1000 */

	/* PUT, CREATE: a word that is kept with the object, for HEAD to tell as SCOUT_S3_MARK; or NULL */
	const char *mark;
	const char *upload_id; /* PART, COMPLETE, ABORT */
	unsigned part; /* PART: 1 to 10000; HEAD: of the upload, whose size is asked for, or 0 */
	bool if_none_match; /* PUT, COMPLETE: only where there is no such object, else -EEXIST, if
				   * the server knows of that */
	uint64_t
	    body_bytes; /* PUT, PART, COMPLETE: what body() gives; each attempt sends it anew */
	const char *body_sha256; /* of the body, set by scout_s3_hash_body */
	/* Copies bytes of the body from offset on into dst and returns how many: at least 1, at most cap
	 * and as many as there are. On the engine's thread, no lock held. */
	size_t (*body)(struct scout_s3_call *call, uint64_t offset, char *dst, size_t cap);

	/* PUT, PART: some of it has arrived at the other side. On the engine's thread, no lock held. NULL: not
	 * asked for. */
	void (*taken)(struct scout_s3_call *call);

	/* GET, HEAD: each header of an answer that is taken, name in lower case, before the first data;
	 * neither holds NUL, CR or LF, and their sum is bounded (64 KiB). All of them again when a GET
	 * without data is tried again. On the engine's thread, no lock held. NULL: not asked for. */
	void (*header)(struct scout_s3_call *call, const char *name, const char *value);
	/* GET: length bytes of the body, in order, no byte twice also when retried. Listings, CREATE,
	 * COMPLETE: the answer, whole, in one call after the last attempt. On the engine's
	 * thread, no lock held; returning false gives the request up (done with -ECANCELED). */
	bool (*data)(struct scout_s3_call *call, const void *bytes, size_t len);
	/* GET: asked before it is sent, and ten times a second while it is on its way, also when nothing comes; returning
	 * false gives the request up (done with -ECANCELED). On the engine's thread, no lock held. NULL: it is wanted. */
	bool (*wanted)(struct scout_s3_call *call);
	/* On the engine's thread, no lock held, exactly once. err: 0; -ENOENT (404); -EACCES (401, 403);
	 * -ESTALE (412: if_match failed, or the object changed between attempts); -ERANGE (416);
	 * -EEXIST (412: if_none_match failed); -EOPNOTSUPP (501 to if_none_match); -EDQUOT, -ENOSPC, -EFBIG, where the server says so;
	 * -ETIMEDOUT, -ECONNREFUSED, -EHOSTUNREACH after all attempts; -EIO (5xx after all attempts,
	 * malformed, too short); -ENOMEM; -ECANCELED; -ESHUTDOWN. Each was logged once, but for what is an
	 * answer, or known to who caused it: -ENOENT of a key, -EEXIST, -EOPNOTSUPP, -ECANCELED,
	 * -ESHUTDOWN. */
	void (*done)(struct scout_s3_call *call, int err);

	/* the answer (GET, HEAD; the ETag also of PUT and PART), set before the first data */
	/* the whole object's size; HEAD of a part: that, from who knows parts */
	uint64_t object_bytes;
	time_t modified; /* Last-Modified */
	char etag[SCOUT_ETAG_MAX];
	time_t date; /* listings, UPLOADS: the server's clock, before data; 0: it did not say */
	char reason[160]; /* of an error, for a person: "403 AccessDenied" */
	/* Before the last request, others may have reached the server whose answers were lost. */
	bool in_doubt;

	/* the engine's own */
	TAILQ_ENTRY(scout_s3_call) link; /* under its lock */
	struct scout_s3_flow *waits_in;  /* under its lock: in the queue, or NULL */
	bool cancelled;                  /* under its lock */
};

/* Borrows config. Finds out whose keys shall sign (src/s3/credentials.h), starts the thread, and one more
 * where keys must be asked for and expire; calls wait for the first answer. Returns 0 or -errno, logged. */
int scout_s3_new(const struct scout_models_config *config, struct scout_s3 **ret);
/* Completes all that is pending with -ESHUTDOWN and ends the thread; later submits complete with
 * that at once. */
void scout_s3_stop(struct scout_s3 *s3);
void scout_s3_free(struct scout_s3 *s3); /* stopped; NULL is fine */

/* Any thread; never blocks; done is called once, possibly before this returns only when stopped. */
void scout_s3_submit(struct scout_s3 *s3, struct scout_s3_call *call);
/* Asks for an early end, any thread: done comes soon, with -ECANCELED if it was not over. */
void scout_s3_cancel(struct scout_s3 *s3, struct scout_s3_call *call);

/* So many requests are to be expected, more than a round trip from now: connections are made for them, where that
 * takes long and there are not enough. Any thread; never blocks. */
void scout_s3_expect(struct scout_s3 *s3, unsigned requests);
/* How long after it was asked for an answer began, of late and at the least; 0: there was none yet. Any thread. */
uint64_t scout_s3_distance_ns(struct scout_s3 *s3);

/* Sets body_sha256, with buf for it, where only that lets the server see that the body is right: over
 * http. On the caller's thread, by body(). Returns 0, or -EIO when libcrypto fails. */
int scout_s3_hash_body(struct scout_s3 *s3, struct scout_s3_call *call, char buf[SCOUT_SHA256_MAX]);

#define SCOUT_S3_REASON_MAX 256

/* Whose keys sign the requests; never a secret. */
struct scout_s3_signer_stats {
	char source
	    [SCOUT_S3_REASON_MAX]; /* "scoutfs.ini", "environment", "profile ml", "anonymous"… */
	bool have;                 /* there are credentials, expired or not */
	bool expires;              /* they do, and are renewed */
	int64_t left_s;            /* until then; negative: since then */
	uint64_t renewals, failures;
	char last_failure[SCOUT_S3_REASON_MAX]; /* of the last renewal; "": it went well */
	uint64_t failed_wall_ns;
};

struct scout_s3_stats {
	uint64_t requests; /* attempts sent, all operations */
	uint64_t retries;
	uint64_t hedges, hedges_won; /* second requests for what hung, and those that were first */
	uint64_t slow_downs;         /* answers that asked for it */
	uint64_t bytes_in;           /* body bytes received */
	unsigned active;             /* on their way */
	unsigned allowed;            /* at once: max_connections, fewer after slow_downs */
	unsigned queued;
	unsigned connections; /* open now */
	unsigned max_connections;
	int last_err; /* 0: none yet */
	uint64_t last_err_wall_ns;
	char last_reason[160];
	struct scout_s3_signer_stats signer;
};
void scout_s3_stats(struct scout_s3 *s3, struct scout_s3_stats *ret);

/* One page of ListObjectsV2's XML (expat). Entries are borrowed for the call; returning false stops
 * with -ECANCELED. Keys and prefixes come decoded (encoding-type=url is asked for). */
struct scout_s3_object {
	const char *key; /* NUL-terminated; a key with a NUL inside has key_len > strlen(key) */
	size_t key_len;
	uint64_t bytes;
	time_t modified;
	const char *etag; /* with quotes */
	bool is_prefix;   /* a CommonPrefix: only key is set */
	/* of a version */
	const char *version_id;
	bool latest;
	bool deleted; /* a delete marker: no bytes, no etag */
};
/* next: 0 bytes or the continuation token (malloc'ed, the caller frees). Returns 0, -EIO (malformed,
 * or not a ListBucketResult), -ENOMEM. */
int scout_s3_parse_list(const void *xml, size_t len,
			bool (*entry)(void *arg, const struct scout_s3_object *o), void *arg,
			char **next);
/* Likewise of ListObjectVersions. next: 0 bytes or both tokens, the second perhaps NULL. */
int scout_s3_parse_versions(const void *xml, size_t len,
			    bool (*entry)(void *arg, const struct scout_s3_object *o), void *arg,
			    char **next, char **version_marker);

/* The id in CreateMultipartUpload's answer (malloc'ed, the caller frees). Returns 0, -EIO, -ENOMEM. */
int scout_s3_parse_upload_id(const void *xml, size_t len, char **ret);

/* CompleteMultipartUpload's answer. Returns 0, -EIO (malformed, cut, or something else), -ENOMEM; failed: it is an
 * Error. */
int scout_s3_parse_completion(const void *xml, size_t len, bool *failed);

/* A multipart upload under way. */
struct scout_s3_upload {
	const char *key;
	size_t key_len; /* as of scout_s3_object */
	const char *id;
	time_t begun; /* 0: not known */
};
/* One page of ListMultipartUploads, as scout_s3_parse_list; next_key and next_id are where the page after
 * it begins, both NULL when there is none. */
int scout_s3_parse_uploads(const void *xml, size_t len,
			   bool (*entry)(void *arg, const struct scout_s3_upload *u), void *arg,
			   char **next_key, char **next_id);

/* checksum.c: what the server keeps of the bytes of a whole object, the best of what it tells. */
enum scout_s3_checksum_kind {
	SCOUT_S3_NO_CHECKSUM,
	SCOUT_S3_MD5,
	SCOUT_S3_CRC32,
	SCOUT_S3_CRC32C,
	SCOUT_S3_CRC64NVME,
	SCOUT_S3_SHA1,
	SCOUT_S3_SHA256,
};
struct scout_s3_checksum {
	enum scout_s3_checksum_kind kind;
	uint8_t bytes[32]; /* as many as the kind has */
	/* Composite: not of the bytes, but of the checksums of so many parts of an upload, one behind the other; 0: of
	 * the bytes. No header tells how large the parts but the last are: 0 until the caller knows. */
	unsigned parts;
	uint64_t part_bytes;
};
/* The weak comparison (RFC 9110 section 8.8.3.2): a gateway that compresses tells a strong one of HEAD and a weak one of
 * GET. */
bool scout_s3_etag_same(const char *a, const char *b);

/* Gathered from the headers of an answer to HEAD, zeroed at first. */
struct scout_s3_sums {
	struct scout_s3_checksum best, composite; /* of the bytes; of the checksums of parts */
	bool not_whole, not_composite;            /* whatever it looks like */
	bool opaque_etag;                         /* likewise: no MD5 */
};
void scout_s3_sums_header(struct scout_s3_sums *s, const char *name, const char *value);
/* The best one of the bytes, else the composite one, of which part_bytes is 0. */
void scout_s3_sums_whole(const struct scout_s3_sums *s, const char *etag,
			 struct scout_s3_checksum *ret);
/* "sha256", for a person. */
const char *scout_s3_checksum_name(enum scout_s3_checksum_kind kind);

/* A running digest of the kind of want, whose part_bytes is known if it is composite. Returns 0, -ENOMEM, or
 * -ENOTSUP. One thread at a time. */
struct scout_s3_digest;
int scout_s3_digest_new(const struct scout_s3_checksum *want, struct scout_s3_digest **ret);
void scout_s3_digest_free(struct scout_s3_digest *d); /* NULL is fine */
void scout_s3_digest_update(struct scout_s3_digest *d, const void *bytes, size_t len);
/* Likewise of n digests, SCOUT_S3_DIGESTS_MAX at most: bytes[i] are the next len of d[i]. */
#define SCOUT_S3_DIGESTS_MAX 16 /* as many as go side by side */
void scout_s3_digests_update(struct scout_s3_digest *const d[], const void *const bytes[], size_t n,
			     size_t len);
/* Whether many of that kind cost hardly more together than one. */
bool scout_s3_digests_together(enum scout_s3_checksum_kind kind);
/* Whether all bytes together have the checksum; the last call but free. */
bool scout_s3_digest_matches(struct scout_s3_digest *d);

#endif
