/* What /hosts tells about itself: the texts of .scoutfs. From memory, never a network. */
#ifndef SCOUTFS_HOSTS_REPORT_H
#define SCOUTFS_HOSTS_REPORT_H

#include "scoutfs/text.h"

void scout_hosts_status(void *self, struct scout_text *out);
int scout_hosts_detail(void *self, const char *entry, struct scout_text *out);
void scout_hosts_detail_list(void *self, struct scout_text *out);
void scout_hosts_metrics(void *self, struct scout_text *out);

#endif
