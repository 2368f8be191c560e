/* Running MD5s, of which many go side by side in hardly more time than one. */
#ifndef SCOUTFS_S3_MD5_H
#define SCOUTFS_S3_MD5_H

#include <stddef.h>
#include <stdint.h>

#define SCOUT_MD5_BYTES 16
#define SCOUT_MD5_LANES 16

struct scout_md5;

struct scout_md5 *scout_md5_new(void); /* NULL without memory */
void scout_md5_free(struct scout_md5 *m);
void scout_md5_update(struct scout_md5 *m, const void *bytes, size_t len);
/* Likewise of n of them, SCOUT_MD5_LANES at most: bytes[i] are the next len of m[i]. */
void scout_md5_update_all(struct scout_md5 *const m[], const void *const bytes[], size_t n,
			  size_t len);
/* The digest; the last call but free. */
void scout_md5_end(struct scout_md5 *m, uint8_t digest[SCOUT_MD5_BYTES]);

#endif
