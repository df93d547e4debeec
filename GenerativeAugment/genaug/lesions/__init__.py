"""Lesions without training: carved from annotated cases or drawn, placed inside a tissue, blended, recorded."""

from genaug.lesions.bank import AnnotatedCase, LesionBank
from genaug.lesions.carve import CarveDraws, LesionPatch, LesionReference, carve
from genaug.lesions.insert import InsertDraws, Inserted, LesionDraws, insert_lesions, reinsert
from genaug.lesions.parameters import BankSource, InsertParameters, ProceduralSource
from genaug.lesions.place import Placement
from genaug.lesions.procedural import ProceduralDraws, draw_procedural

__all__ = [
    "AnnotatedCase",
    "BankSource",
    "CarveDraws",
    "InsertDraws",
    "InsertParameters",
    "Inserted",
    "LesionBank",
    "LesionDraws",
    "LesionPatch",
    "LesionReference",
    "Placement",
    "ProceduralDraws",
    "ProceduralSource",
    "carve",
    "draw_procedural",
    "insert_lesions",
    "reinsert",
]
