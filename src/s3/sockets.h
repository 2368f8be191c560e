/* The sockets that libcurl has open. Thread-safe. */
#ifndef SCOUTFS_S3_SOCKETS_H
#define SCOUTFS_S3_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "scoutfs/lock.h"

struct scout_s3_sockets {
	struct scout_mutex lock;
	struct scout_s3_socket {
		int fd;
		ino_t inode;
	} * open;          /* under lock; size entries, the first used of them filled */
	size_t used, size; /* under lock */
};

/* Room for the sockets of max_connections. Returns 0 or -ENOMEM. */
int scout_s3_sockets_init(struct scout_s3_sockets *s, size_t max_connections);
void scout_s3_sockets_destroy(struct scout_s3_sockets *s);

/* CURLOPT_OPENSOCKETFUNCTION's and CURLOPT_CLOSESOCKETFUNCTION's work: socket(2), close(2). */
int scout_s3_socket_open(struct scout_s3_sockets *s, int family, int type, int protocol);
int scout_s3_socket_close(struct scout_s3_sockets *s, int fd);
/* How many bytes the other side has confirmed of the connection from our port to that of peer, an address
 * in numbers: a port of ours may lead to several peers. False: not known. */
bool scout_s3_sockets_acked(struct scout_s3_sockets *s, unsigned port, const char *peer,
			    unsigned peer_port, uint64_t *ret);
unsigned scout_s3_sockets_count(struct scout_s3_sockets *s);

#endif
