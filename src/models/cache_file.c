/* Files of the disk cache. The first 4 KiB say whose blocks these are and hold a sum of each; the blocks
 * stand behind, each in its place, and where one is missing there is a hole.
 *
 * Nothing is synced, and nothing needs to be: a block counts only when its sum is right, so whatever came
 * to the disk of it, in whatever order, before a crash, it is all of it or none. The sum is a Poly1305 under
 * a key of the object's version and the block's place, 128 bits, so neither zeros nor a block of elsewhere
 * pass for it. It holds against accidents: whoever may write into the folder is us.
 *
 * All who write a file write the same bytes to the same places. The head is compared with the one that we
 * would write and not parsed. No lock; all of it waits for the disk. */
#include "models/cache_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scoutfs/text.h"

#define FORMAT 1
#define HEAD_BYTES 4096
#define SUMS_BYTES sizeof(((struct scout_segment *)0)->sums)
#define ABOUT_BYTES (HEAD_BYTES - SUMS_BYTES)
#define HEX_DIGITS (2 * SCOUT_CACHE_KEY)

static bool add(EVP_MD_CTX *md, const char *text)
{
	return EVP_DigestUpdate(md, text, strlen(text) + 1) == 1;
}

int scout_cache_id_make(struct scout_cache_id *id, const char *endpoint, const char *bucket,
			const char *object, const char *version_id, const char *etag,
			uint64_t bytes)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	char size[24];
	bool ok;

	snprintf(size, sizeof(size), "%" PRIu64, bytes);
	ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 && add(md, endpoint) &&
	     add(md, bucket) && add(md, object) && add(md, version_id ? version_id : "") &&
	     add(md, etag) && add(md, size) && EVP_DigestFinal_ex(md, id->key, NULL) == 1;
	EVP_MD_CTX_free(md);
	id->object = object;
	id->etag = etag;
	id->bytes = bytes;
	return ok ? 0 : -ENOTSUP;
}

void scout_segment_name(const struct scout_cache_id *id, uint64_t number,
			char name[SCOUT_CACHE_NAME_MAX])
{
	for (size_t i = 0; i < SCOUT_CACHE_KEY; i++)
		snprintf(name + 2 * i, 3, "%02x", id->key[i]);
	snprintf(name + HEX_DIGITS, SCOUT_CACHE_NAME_MAX - HEX_DIGITS, ".%" PRIu64, number);
}

bool scout_segment_is_name(const char *name)
{
	size_t len = strlen(name);

	return len > HEX_DIGITS + 1 && len < SCOUT_CACHE_NAME_MAX &&
	       strspn(name, "0123456789abcdef") == HEX_DIGITS && name[HEX_DIGITS] == '.' &&
	       strspn(name + HEX_DIGITS + 1, "0123456789") == len - HEX_DIGITS - 1;
}

/* What the head begins with; the rest is zeros. */
static void write_about(const struct scout_cache_id *id, uint64_t number, char about[ABOUT_BYTES])
{
	char name[SCOUT_CACHE_NAME_MAX], object[1024], etag[256];

	scout_segment_name(id, number, name);
	memset(about, 0, ABOUT_BYTES);
	snprintf(about, ABOUT_BYTES,
		 "scoutfs cache %d\nsegment %s of blocks of %zu bytes\nsize %" PRIu64
		 "\netag %s\nkey %s\n",
		 FORMAT, name, SCOUT_BUF_BYTES, id->bytes,
		 scout_format_name(etag, sizeof(etag), id->etag),
		 scout_format_name(object, sizeof(object), id->object));
}

static off_t place_of(unsigned block)
{
	return HEAD_BYTES + (off_t)block * (off_t)SCOUT_BUF_BYTES;
}

/* Returns 0; -ENODATA: the file ends before; or -errno. */
static int read_all(int fd, void *buf, size_t len, off_t at)
{
	while (len > 0) {
		ssize_t n = pread(fd, buf, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		buf = (char *)buf + n;
		len -= (size_t)n;
		at += n;
	}
	return 0;
}

static int write_all(int fd, const void *buf, size_t len, off_t at)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, buf, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		buf = (const char *)buf + n;
		len -= (size_t)n;
		at += n;
	}
	return 0;
}

/* Returns 0; -ENODATA: there is nothing in the file yet; -EBADMSG: it is not this segment; or -errno. */
static int read_head(struct scout_segment *s)
{
	char about[ABOUT_BYTES], head[HEAD_BYTES];
	struct stat st;
	int err;

	if (fstat(s->fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADMSG;
	if (st.st_size == 0)
		return -ENODATA;
	err = read_all(s->fd, head, sizeof(head), 0);
	if (err < 0)
		return err == -ENODATA ? -EBADMSG : err;
	write_about(s->id, s->number, about);
	if (memcmp(head, about, ABOUT_BYTES) != 0)
		return -EBADMSG;
	memcpy(s->sums, head + ABOUT_BYTES, SUMS_BYTES);
	return 0;
}

static int write_head(struct scout_segment *s)
{
	char head[HEAD_BYTES] = {0};

	write_about(s->id, s->number, head);
	return write_all(s->fd, head, sizeof(head), 0);
}

/* Of a file that was empty; a head of two would be without the sums that came after the first one. Where
 * there are no locks it is one block less. Returns as read_head; -EAGAIN: another mount is at it. */
static int make_head(struct scout_segment *s)
{
	int err;

	if (flock(s->fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		return -EAGAIN;
	err = read_head(s);
	s->made = err == -ENODATA;
	if (s->made)
		err = write_head(s);
	(void)flock(s->fd, LOCK_UN); /* as close would */
	return err;
}

int scout_segment_open(int dir, const struct scout_cache_id *id, uint64_t number, bool write,
		       struct scout_segment *ret)
{
	int flags = (write ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
	char name[SCOUT_CACHE_NAME_MAX];
	int err = -EBADMSG;

	scout_segment_name(id, number, name);
	for (int attempt = 0; err == -EBADMSG && attempt < 2; attempt++) {
		*ret = (struct scout_segment){.id = id, .number = number};
		ret->fd = openat(dir, name, flags, 0600);
		if (ret->fd < 0)
			return -errno;
		err = read_head(ret);
		if (err == -ENODATA && write)
			err = make_head(ret);
		if (err < 0)
			close(ret->fd);
		if (err == -EBADMSG)
			(void)unlinkat(dir, name, 0); /* if it stays, it is told again */
	}
	return !write && (err == -ENODATA || err == -EBADMSG) ? -ENOENT : err;
}

void scout_segment_close(struct scout_segment *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

static bool is_there(const struct scout_segment *s, unsigned block)
{
	static const uint8_t none[SCOUT_SEGMENT_SUM];

	return memcmp(s->sums[block], none, sizeof(none)) != 0;
}

uint64_t scout_segment_blocks(const struct scout_segment *s)
{
	uint64_t there = 0;

	for (unsigned i = 0; i < SCOUT_SEGMENT_BLOCKS; i++)
		there |= (uint64_t)is_there(s, i) << i;
	return there;
}

void scout_segment_will_read(const struct scout_segment *s, unsigned block, unsigned n)
{
	(void)posix_fadvise(s->fd, place_of(block), (off_t)n * (off_t)SCOUT_BUF_BYTES,
			    POSIX_FADV_WILLNEED); /* without it, it takes longer */
}

static int sum_of(const struct scout_segment *s, unsigned block, const void *buf, size_t len,
		  uint8_t sum[SCOUT_SEGMENT_SUM])
{
	uint64_t index = s->number * SCOUT_SEGMENT_BLOCKS + block;
	uint8_t key[SCOUT_CACHE_KEY];
	size_t out = 0;

	/* the second half of the key is added to the sum */
	memcpy(key, s->id->key, sizeof(key));
	for (size_t i = 0; i < sizeof(index); i++)
		key[SCOUT_CACHE_KEY / 2 + i] ^= (uint8_t)(index >> (8 * i));
	if (!EVP_Q_mac(NULL, "POLY1305", NULL, NULL, NULL, key, sizeof(key), buf, len, sum,
		       SCOUT_SEGMENT_SUM, &out) ||
	    out != SCOUT_SEGMENT_SUM)
		return -ENOTSUP;
	return 0;
}

int scout_segment_read(const struct scout_segment *s, unsigned block, void *buf, size_t len)
{
	uint8_t sum[SCOUT_SEGMENT_SUM];
	int err;

	if (!is_there(s, block))
		return -ENOENT;
	err = read_all(s->fd, buf, len, place_of(block));
	if (err == 0)
		err = sum_of(s, block, buf, len, sum);
	else if (err == -ENODATA)
		err = -EBADMSG;
	return err == 0 && memcmp(sum, s->sums[block], sizeof(sum)) != 0 ? -EBADMSG : err;
}

int scout_segment_write(struct scout_segment *s, unsigned block, const void *buf, size_t len)
{
	int err = sum_of(s, block, buf, len, s->sums[block]);

	if (err == 0)
		err = write_all(s->fd, buf, len, place_of(block));
	if (err == 0)
		err = write_all(s->fd, s->sums[block], SCOUT_SEGMENT_SUM,
				(off_t)(ABOUT_BYTES + block * SCOUT_SEGMENT_SUM));
	return err;
}

void scout_segment_touch(int dir, const struct scout_cache_id *id, uint64_t number)
{
	char name[SCOUT_CACHE_NAME_MAX];

	scout_segment_name(id, number, name);
	(void)utimensat(dir, name, NULL, AT_SYMLINK_NOFOLLOW); /* else it goes a little earlier */
}
