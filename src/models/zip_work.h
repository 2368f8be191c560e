/* The threads that read directories of archives and inflate: a queue of jobs. */
#ifndef MODELS_ZIP_WORK_H
#define MODELS_ZIP_WORK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

/* Embedded in what it works for. It is posted once at a time, and runs for some milliseconds at most:
 * then it posts itself again, so that others have their turn. */
struct scout_zip_job {
	void (*run)(struct scout_zip_job *job); /* no lock held */
	TAILQ_ENTRY(scout_zip_job) link;        /* the queue's */
	uint64_t due_ns;                        /* the queue's; 0: it is not put off */
};

struct scout_zip_work;

/* Returns 0 or -errno. */
int scout_zip_work_start(struct scout_zip_work **ret);
/* Runs what waits, what that posts, and what is still to get its memory, and ends the threads; what is
 * posted later runs at once, on the thread that posts it. Whoever waits for memory has been cancelled, or
 * is being granted it. */
void scout_zip_work_stop(struct scout_zip_work *w);
void scout_zip_work_free(struct scout_zip_work *w); /* stopped; NULL is fine */

/* Any thread; never blocks. */
void scout_zip_post(struct scout_zip_work *w, struct scout_zip_job *job);
/* Posts it when so much time has passed, or when the threads are to end. All put off are put off for as long. False:
 * there are no threads any more. Any lock but a leaf may be held. */
bool scout_zip_put_off(struct scout_zip_work *w, struct scout_zip_job *job, uint64_t wait_ns);
/* Posts it now if it is still put off. Likewise. */
void scout_zip_hurry(struct scout_zip_work *w, struct scout_zip_job *job);
/* Before a job asks for memory, for which it may have to wait: others' threads give it. */
void scout_zip_waits(struct scout_zip_work *w);
/* The end of that: posts job; NULL: it has its memory without waiting. As scout_zip_post. */
void scout_zip_waited(struct scout_zip_work *w, struct scout_zip_job *job);

#endif
