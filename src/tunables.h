/* What glibc must be told before it starts. glibc manual: "Tunables". */
#ifndef SCOUTFS_TUNABLES_H
#define SCOUTFS_TUNABLES_H

/* Begins the program anew, once, where another setting makes it faster: on AMD's processors memcpy(3) by "rep movsb",
 * which glibc up to 2.39 takes for copies of 2 KiB and more, is several times slower than by vectors
 * (https://sourceware.org/bugzilla/show_bug.cgi?id=30994). Returns where there is nothing to do or that is not
 * possible, with GLIBC_TUNABLES as it was, so that children have what their user said. Before any thread. */
void scout_tunables_set(char **argv);

#endif
