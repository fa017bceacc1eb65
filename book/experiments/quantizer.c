/* A quantizer in C that answers the golden vectors: cc quantizer.c -lm */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#ifndef ROUND
#define ROUND rintf /* half to even */
#endif

static int code(float x, float scale, int zero_point, int qmin, int qmax) {
    float steps = ROUND(x / scale);
    if (steps < (float)(qmin - zero_point)) return qmin;
    if (steps > (float)(qmax - zero_point)) return qmax;
    return (int)steps + zero_point;
}

int main(void) {
    static char line[1 << 16];
    while (fgets(line, sizeof line, stdin)) {
        int qmin, qmax, z, used = 0;
        float s, x, lo = 0, hi = 0;
        if (sscanf(line, "quantize %d %d %f %d%n", &qmin, &qmax, &s, &z, &used) == 4) {
            char *at = line + used;
            for (char *end; x = strtof(at, &end), end != at; at = end)
                printf("%d ", code(x, s, z, qmin, qmax));
        } else if (sscanf(line, "choose %d %d%n", &qmin, &qmax, &used) == 2) {
            char *at = line + used;
            for (char *end; x = strtof(at, &end), end != at; at = end) {
                lo = fminf(lo, x); /* both begin at 0: the interval contains it */
                hi = fmaxf(hi, x);
            }
            s = hi > lo ? fmaxf((hi - lo) / (float)(qmax - qmin), FLT_MIN) : 1;
            z = qmin - (int)ROUND(lo / s);
            printf("%.9g %d", s, z);
        }
        printf("\n");
    }
    return 0;
}
