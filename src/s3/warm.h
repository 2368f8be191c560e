/* Connections that are made before they are needed, so that who needs many at once does not wait for their
 * handshakes. Engine thread only. */
#ifndef SCOUTFS_S3_WARM_H
#define SCOUTFS_S3_WARM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "s3/sockets.h"

#define SCOUT_S3_WARM_MAX 16

/* Zeroed is one without connections. */
struct scout_s3_warm {
	struct sockaddr_storage to; /* where the last connection went */
	socklen_t to_len;           /* 0: there was none */
	int type, protocol;
	size_t count;
	struct {
		int fd;
		uint64_t begun_ns;
	} waiting[SCOUT_S3_WARM_MAX]; /* oldest first */
	int given;                    /* the one that was taken last */
	bool is_given;
};

/* Begins n more connections to where the last one went, as many as there is place for. */
void scout_s3_warm_begin(struct scout_s3_warm *w, struct scout_s3_sockets *s, size_t n,
			 uint64_t now_ns);
/* A connection to that address: one that waits, or -1; notes the address. */
int scout_s3_warm_take(struct scout_s3_warm *w, struct scout_s3_sockets *s,
		       const struct sockaddr *to, socklen_t to_len, int type, int protocol);
/* Whether fd is the one that was taken last: it is connected. */
bool scout_s3_warm_was_given(struct scout_s3_warm *w, int fd);
/* Ends the youngest one, if there is any: another needs its place. */
void scout_s3_warm_drop_one(struct scout_s3_warm *w, struct scout_s3_sockets *s);
/* Ends those that nobody took within a while, and that failed; all of them when now_ns is UINT64_MAX. */
void scout_s3_warm_sweep(struct scout_s3_warm *w, struct scout_s3_sockets *s, uint64_t now_ns);

#endif
