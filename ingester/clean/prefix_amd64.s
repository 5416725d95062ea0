#include "textflag.h"

// func prefixAVX2(v *byte, length int) int
TEXT ·prefixAVX2(SB), NOSPLIT, $0-24
	MOVQ v+0(FP), SI
	MOVQ length+8(FP), CX
	VPXOR Y0, Y0, Y0
	XORQ BX, BX
	LEAQ -32(CX), DX     // the last block

block:
	// As signed numbers ASCII without NUL is what is greater than 0.
	VMOVDQU (SI)(BX*1), Y1
	VPCMPGTB Y0, Y1, Y1
	VPMOVMSKB Y1, AX
	CMPL AX, $-1
	JNE done
	ADDQ $32, BX
	CMPQ BX, DX
	JLE block
	CMPQ BX, CX
	JGE whole
	MOVQ DX, BX
	JMP block

whole:
	MOVQ CX, BX

done:
	VZEROUPPER
	MOVQ BX, ret+16(FP)
	RET
