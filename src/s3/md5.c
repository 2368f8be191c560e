/* MD5 (RFC 1321), of as many messages at once as there are lanes; see md5.h.
 *
 * Each of its 64 steps needs the one before, so that one message goes at the speed of a chain of additions,
 * 500 MB/s by libcrypto where this was measured, with most of the processor idle. Sixteen in the lanes of vectors
 * have sixteen such chains: 2,500 MB/s by the instructions that every x86-64 has. The compiler makes of the vectors
 * what its target offers. A single message is libcrypto's, unless AVX-512 has a shorter chain for it. */
/* libcrypto's state, into which the lanes write, is a struct only in what it calls deprecated by now */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "s3/md5.h"

#include <endian.h>
#include <openssl/md5.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

#define WORDS 16
/* Fewer than this are done sooner one by one. */
#define FEW 4

struct scout_md5 {
	MD5_CTX ctx;
};

typedef uint32_t scout_lanes __attribute__((vector_size(4 * SCOUT_MD5_LANES)));

/* The integer part of 2^32 times the sine of 1 to 64. */
static const uint32_t sines[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};

#define F(b, c, d) ((d) ^ ((b) & ((c) ^ (d))))
#define G(b, c, d) ((c) ^ ((d) & ((b) ^ (c))))
#define H(b, c, d) ((b) ^ (c) ^ (d))
#define I(b, c, d) ((c) ^ ((b) | ~(d)))

/* Step i, which takes word k and turns by s bits. */
#define STEP(f, a, b, c, d, i, k, s)                    \
	a += f(b, c, d) + word[(k) % WORDS] + sines[i]; \
	a = (a << (s) | a >> (32 - (s))) + b

/* Steps i to i + 3, of a round whose step i takes word by * i + from. */
#define STEPS(step, f, i, by, from, s0, s1, s2, s3)                  \
	step(f, a, b, c, d, i, (by) * (i) + (from), s0);             \
	step(f, d, a, b, c, (i) + 1, (by) * ((i) + 1) + (from), s1); \
	step(f, c, d, a, b, (i) + 2, (by) * ((i) + 2) + (from), s2); \
	step(f, b, c, d, a, (i) + 3, (by) * ((i) + 3) + (from), s3)

#define ROUND(step, f, i, by, from, s0, s1, s2, s3)        \
	STEPS(step, f, i, by, from, s0, s1, s2, s3);       \
	STEPS(step, f, (i) + 4, by, from, s0, s1, s2, s3); \
	STEPS(step, f, (i) + 8, by, from, s0, s1, s2, s3); \
	STEPS(step, f, (i) + 12, by, from, s0, s1, s2, s3)

#define ROUNDS(step)                             \
	ROUND(step, F, 0, 1, 0, 7, 12, 17, 22);  \
	ROUND(step, G, 16, 5, 1, 5, 9, 14, 20);  \
	ROUND(step, H, 32, 3, 5, 4, 11, 16, 23); \
	ROUND(step, I, 48, 7, 0, 6, 10, 15, 21)

struct state {
	scout_lanes a, b, c, d;
};

static inline __attribute__((always_inline)) void
take_block(struct state *state, const uint8_t *const bytes[SCOUT_MD5_LANES], size_t at)
{
	scout_lanes a = state->a, b = state->b, c = state->c, d = state->d;
	scout_lanes word[WORDS];

	for (size_t lane = 0; lane < SCOUT_MD5_LANES; lane++) {
		uint32_t own[WORDS];

		memcpy(own, bytes[lane] + at, sizeof(own));
		for (size_t k = 0; k < WORDS; k++)
			word[k][lane] = le32toh(own[k]);
	}
	ROUNDS(STEP);
	state->a += a;
	state->b += b;
	state->c += c;
	state->d += d;
}

typedef void take_fn(struct state *state, const uint8_t *const bytes[SCOUT_MD5_LANES], size_t len);

static void take_all(struct state *state, const uint8_t *const bytes[SCOUT_MD5_LANES], size_t len)
{
	for (size_t at = 0; at < len; at += MD5_CBLOCK)
		take_block(state, bytes, at);
}

#ifdef __x86_64__
/* The same by AVX-512, which turns in one instruction: 4,200 MB/s. */
__attribute__((target("avx512f"))) static void
take_all_wide(struct state *state, const uint8_t *const bytes[SCOUT_MD5_LANES], size_t len)
{
	for (size_t at = 0; at < len; at += MD5_CBLOCK)
		take_block(state, bytes, at);
}

static take_fn *taker(void)
{
	return __builtin_cpu_supports("avx512f") ? take_all_wide : take_all;
}

/* F, G, H and I by their truth tables: bit 4b + 2c + d. */
#define TABLE_F 0xca
#define TABLE_G 0xe4
#define TABLE_H 0x96
#define TABLE_I 0x39

/* A step of a single message: four instructions of its chain, five or six by what all have. The barrier keeps the word's
 * sum off it, with which the compiler would add to the function's value first. */
#define STEP_ONE(f, a, b, c, d, i, k, s)                                              \
	a = _mm_add_epi32(a, _mm_cvtsi32_si128((int)(word[(k) % WORDS] + sines[i]))); \
	__asm__("" : "+v"(a));                                                        \
	a = _mm_add_epi32(a, _mm_ternarylogic_epi32(b, c, d, TABLE_##f));             \
	a = _mm_add_epi32(_mm_rol_epi32(a, s), b)

/* A single message's whole blocks: 600 MB/s. */
__attribute__((target("avx512f,avx512vl"))) static void take_one(MD5_CTX *ctx, const uint8_t *bytes,
								 size_t len)
{
	__m128i a = _mm_cvtsi32_si128((int)ctx->A), b = _mm_cvtsi32_si128((int)ctx->B);
	__m128i c = _mm_cvtsi32_si128((int)ctx->C), d = _mm_cvtsi32_si128((int)ctx->D);

	for (size_t at = 0; at < len; at += MD5_CBLOCK) {
		__m128i a0 = a, b0 = b, c0 = c, d0 = d;
		uint32_t word[WORDS];

		memcpy(word, bytes + at, sizeof(word));
		ROUNDS(STEP_ONE);
		a = _mm_add_epi32(a, a0);
		b = _mm_add_epi32(b, b0);
		c = _mm_add_epi32(c, c0);
		d = _mm_add_epi32(d, d0);
	}
	ctx->A = (MD5_LONG)_mm_cvtsi128_si32(a);
	ctx->B = (MD5_LONG)_mm_cvtsi128_si32(b);
	ctx->C = (MD5_LONG)_mm_cvtsi128_si32(c);
	ctx->D = (MD5_LONG)_mm_cvtsi128_si32(d);
}

/* Takes what it can of a single message that is at a block's start; returns how many bytes that was. */
static size_t take_blocks(MD5_CTX *ctx, const uint8_t *bytes, size_t len)
{
	size_t whole = __builtin_cpu_supports("avx512vl") ? len / MD5_CBLOCK * MD5_CBLOCK : 0;

	if (whole > 0)
		take_one(ctx, bytes, whole);
	return whole;
}
#else
static take_fn *taker(void)
{
	return take_all;
}

static size_t take_blocks(MD5_CTX *ctx, const uint8_t *bytes, size_t len)
{
	(void)ctx;
	(void)bytes;
	(void)len;
	return 0;
}
#endif

static void count(MD5_CTX *ctx, size_t len)
{
	uint64_t bits = ((uint64_t)ctx->Nh << 32 | ctx->Nl) + (uint64_t)len * 8;

	ctx->Nl = (MD5_LONG)bits;
	ctx->Nh = (MD5_LONG)(bits >> 32);
}

static void update_lanes(take_fn *take, struct scout_md5 *const m[], const void *const bytes[],
			 size_t n, size_t len)
{
	const uint8_t *from[SCOUT_MD5_LANES];
	struct state state;

	for (size_t lane = 0; lane < SCOUT_MD5_LANES; lane++) {
		size_t i = lane < n ? lane : 0; /* what is over does the first one's work again */

		from[lane] = bytes[i];
		state.a[lane] = m[i]->ctx.A;
		state.b[lane] = m[i]->ctx.B;
		state.c[lane] = m[i]->ctx.C;
		state.d[lane] = m[i]->ctx.D;
	}
	take(&state, from, len);
	for (size_t i = 0; i < n; i++) {
		MD5_CTX *ctx = &m[i]->ctx;

		ctx->A = state.a[i];
		ctx->B = state.b[i];
		ctx->C = state.c[i];
		ctx->D = state.d[i];
		count(ctx, len);
	}
}

struct scout_md5 *scout_md5_new(void)
{
	struct scout_md5 *m = malloc(sizeof(*m));

	if (m)
		(void)MD5_Init(&m->ctx); /* it, and those below, cannot fail */
	return m;
}

void scout_md5_free(struct scout_md5 *m)
{
	free(m);
}

void scout_md5_update(struct scout_md5 *m, const void *bytes, size_t len)
{
	size_t whole = m->ctx.num == 0 ? take_blocks(&m->ctx, bytes, len) : 0;

	count(&m->ctx, whole);
	(void)MD5_Update(&m->ctx, (const uint8_t *)bytes + whole, len - whole);
}

void scout_md5_update_all(struct scout_md5 *const m[], const void *const bytes[], size_t n,
			  size_t len)
{
	bool whole_blocks = len % MD5_CBLOCK == 0;

	for (size_t i = 0; i < n; i++)
		whole_blocks = whole_blocks && m[i]->ctx.num == 0;
	if (whole_blocks && n >= FEW) {
		update_lanes(taker(), m, bytes, n, len);
		return;
	}
	for (size_t i = 0; i < n; i++)
		scout_md5_update(m[i], bytes[i], len);
}

void scout_md5_end(struct scout_md5 *m, uint8_t digest[SCOUT_MD5_BYTES])
{
	(void)MD5_Final(digest, &m->ctx);
}
