#include "go_asm.h"
#include "textflag.h"

// func findCutsAVX2(text *byte, length int, sep *[3]byte, at *cuts) int
//
// See findCutsGo: the same steps in the same order.
TEXT ·findCutsAVX2(SB), NOSPLIT, $0-40
	MOVQ text+0(FP), SI
	MOVQ length+8(FP), R14
	MOVQ sep+16(FP), DX
	MOVQ at+24(FP), DI
	VPBROADCASTB 0(DX), Y0
	VPBROADCASTB 1(DX), Y1
	VPBROADCASTB 2(DX), Y2
	SUBQ $66, R14        // the last base
	XORQ BX, BX          // i
	XORQ AX, AX          // n

block:
	MOVQ BX, R8          // base = min(i, the last base)
	CMPQ BX, R14
	CMOVQGT R14, R8

	// A bit for each of 64 places: whether three bytes in a row are the separator's.
	VPCMPEQB 0(SI)(R8*1), Y0, Y3
	VPCMPEQB 1(SI)(R8*1), Y1, Y4
	VPCMPEQB 2(SI)(R8*1), Y2, Y5
	VPAND Y3, Y4, Y3
	VPAND Y3, Y5, Y3
	VPMOVMSKB Y3, R9
	VPCMPEQB 32(SI)(R8*1), Y0, Y3
	VPCMPEQB 33(SI)(R8*1), Y1, Y4
	VPCMPEQB 34(SI)(R8*1), Y2, Y5
	VPAND Y3, Y4, Y3
	VPAND Y3, Y5, Y3
	VPMOVMSKB Y3, R10
	SHLQ $32, R10
	ORQ R10, R9

	// The places before i were looked at.
	MOVQ BX, CX
	SUBQ R8, CX
	SHRXQ CX, R9, R9
	SHLXQ CX, R9, R9

	// Four of them at once, however many there are.
	POPCNTQ R9, R12
	LEAQ (DI)(AX*4), R10
	ADDQ R12, AX
	TZCNTQ R9, R11
	ADDL R8, R11
	MOVL R11, 0(R10)
	BLSRQ R9, R9
	TZCNTQ R9, R11
	ADDL R8, R11
	MOVL R11, 4(R10)
	BLSRQ R9, R9
	TZCNTQ R9, R11
	ADDL R8, R11
	MOVL R11, 8(R10)
	BLSRQ R9, R9
	TZCNTQ R9, R11
	ADDL R8, R11
	MOVL R11, 12(R10)
	BLSRQ R9, R9
	JNZ more

next:
	ADDQ $64, BX
	CMPQ AX, $const_maxCuts
	JGT done
	LEAQ 63(R14), R11    // the last place
	CMPQ BX, R11
	JLE block

done:
	VZEROUPPER
	MOVQ AX, ret+32(FP)
	RET

more:
	ADDQ $16, R10

one:
	TZCNTQ R9, R11
	ADDL R8, R11
	MOVL R11, 0(R10)
	ADDQ $4, R10
	BLSRQ R9, R9
	JNZ one
	JMP next
