/* The number of requests under way; see limit.h. */
#include "s3/limit.h"

#define FLOOR 4u      /* as few as harm nobody */
#define SPARE_FROM 4u /* connections, fewer than which are not divided */
#define SPARE_MAX 16u
#define GROWTH 8u /* connections that a round of successes brings back */

void scout_s3_limit_init(struct scout_s3_limit *l, unsigned max)
{
	*l = (struct scout_s3_limit){.max = max, .now = max};
}

bool scout_s3_limit_shrink(struct scout_s3_limit *l, unsigned active, uint64_t begun_ns,
			   uint64_t now_ns)
{
	unsigned from = active < l->now ? active : l->now, to = from / 2;

	if (l->shrunk_ns > 0 && begun_ns <= l->shrunk_ns)
		return false;
	l->shrunk_ns = now_ns;
	l->credit = 0;
	if (to < FLOOR)
		to = FLOOR;
	if (to >= l->now)
		return false;
	l->now = to;
	return true;
}

void scout_s3_limit_grow(struct scout_s3_limit *l)
{
	if (l->now == l->max || ++l->credit < l->now / GROWTH)
		return;
	l->credit = 0;
	l->now++;
}

unsigned scout_s3_limit_spare(const struct scout_s3_limit *l)
{
	if (l->now < SPARE_FROM)
		return 0;
	return l->now / 8 < SPARE_MAX ? l->now / 8 + 1 : SPARE_MAX;
}

unsigned scout_s3_limit_hedges(const struct scout_s3_limit *l)
{
	unsigned half = scout_s3_limit_spare(l) / 2;

	return half > 0 ? half : 1;
}
