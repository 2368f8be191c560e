/* The machine that a host's sessions go to: what the first one of them found, all others take, until the last has ended.
 * A name may stand for many machines, and ssh_config may be edited at any time; a host is one of them at a time. */
#ifndef SCOUTFS_SFTP_PEER_H
#define SCOUTFS_SFTP_PEER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "scoutfs/lock.h"
#include "scoutfs/sftp.h"

struct scout_sftp_peer {
	/* it did not bear what is sent before it has answered: it is greeted one step after the other */
	atomic_bool in_steps;

	struct scout_mutex lock;
	/* under lock */
	unsigned sessions; /* that joined, and have not left */
	char *
	    answer; /* ssh -G's, by which they go: unchanged while any is there; NULL: no ssh_config */
	struct sockaddr_storage address;
	socklen_t len; /* of address; 0: none has reached it yet, or by a proxy */
};

/* Joins the sessions that are there; where there are none, only with an answer of its own, which is p's then (*own is NULL;
 * it may point to NULL). True: it has joined, and *answer is what all go by, until it leaves. */
bool scout_sftp_peer_join(struct scout_sftp_peer *p, char **own, const char **answer);
void scout_sftp_peer_leave(struct scout_sftp_peer *p);

/* For who has joined. Where the others are; false: not known. */
bool scout_sftp_peer_address(struct scout_sftp_peer *p, struct sockaddr_storage *ret,
			     socklen_t *len);
/* It reached an address. False: others are elsewhere already. */
bool scout_sftp_peer_reached(struct scout_sftp_peer *p, const struct sockaddr_storage *address,
			     socklen_t len);

#endif
