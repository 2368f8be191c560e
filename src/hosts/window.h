/* The arithmetic of reading ahead. Pure.
 *
 * File bytes come in chunks, one buffer each. The chunks of a sequential reader lie on a grid, so
 * that reads which arrive out of order meet in the same ones; a random read fetches just its bytes. */
#ifndef SCOUTFS_HOSTS_WINDOW_H
#define SCOUTFS_HOSTS_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCOUT_WINDOW_MIN ((uint64_t)128 * 1024)
#define SCOUT_WINDOW_BULK ((uint64_t)1024 * 1024) /* beyond that a reader counts as bulk */

struct scout_window {
	uint64_t next;  /* where a sequential reader goes on */
	uint64_t run;   /* how far it came without a seek */
	uint64_t ahead; /* bytes to have on their way beyond next; 0 for a random reader */
};

/* Notes a read of [offset, offset + size). True: it goes on from where the reader was, give or take
 * the order in which the kernel's read-ahead arrives. False: a seek, and the window closed. */
bool scout_window_read(struct scout_window *w, uint64_t offset, size_t size, uint64_t max_ahead);

/* How far to go ahead at most, of a host that answers in round_trip_ns at the least: what the link takes,
 * twice, so that the next is asked for before the last has come; no further than read_window. */
uint64_t scout_window_max(uint64_t read_window, uint64_t round_trip_ns);

/* How many bytes one READ asks for, by the server's limit; and the grid's step: as many of these as
 * one buffer holds, never so few that a read of SCOUT_READ_MAX could touch more than
 * SCOUT_READ_BUFS chunks. */
uint32_t scout_window_part_bytes(uint32_t limit);
uint32_t scout_window_chunk_bytes(uint32_t part_bytes);

/* How many bytes one WRITE carries. */
uint32_t scout_window_write_bytes(uint32_t limit);

/* What an FSTAT says of a file that was known with size and mtime. */
enum scout_window_change { SCOUT_CHANGE_NONE, SCOUT_CHANGE_GROWN, SCOUT_CHANGE_OTHER };
enum scout_window_change scout_window_change(uint64_t size, uint64_t mtime, uint64_t new_size,
					     uint64_t new_mtime);

/* What a look said of a file, and how many had said something by then; 0: none did. */
struct scout_told {
	uint64_t size, mtime;
	uint64_t count;
};

/* Whether a look that shows size and mtime may be older than now, which was heard before it: it was on its way at the
 * same time, as only then was known of its file, and the file may have grown from then to it, and from it to now. */
bool scout_window_outdated(const struct scout_told *then, const struct scout_told *now,
			   uint64_t size, uint64_t mtime);

#endif
