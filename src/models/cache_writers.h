/* How many mounts write into a folder of segments. */
#ifndef MODELS_CACHE_WRITERS_H
#define MODELS_CACHE_WRITERS_H

/* No more than these can be told. */
#define SCOUT_CACHE_WRITERS_MAX 64

/* Counts us among those who write into dir until what it returns is closed. Returns a descriptor; -EAGAIN:
 * max do already, of SCOUT_CACHE_WRITERS_MAX at most; or -errno. */
int scout_cache_writers_join(int dir, unsigned max);
/* How many others do; -ESTALE: whoever joins now does not see us; or -errno. */
int scout_cache_writers_others(int fd);

#endif
