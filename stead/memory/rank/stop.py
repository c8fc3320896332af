"""Words that say nothing about what is looked for, folded (:func:`stead.memory.rank.words.fold`).

Those of all languages in one list. A word that means something in another of these languages, and
is likely to be asked for there (English "war", "die", "hat"; German "man"), counts as saying
something unless the language where it says nothing would drown in it.
"""

from __future__ import annotations

_ENGLISH = """a about again also am an and any are as at be because been before being but by can
could did didn do does doesn doing don down each even ever for from get gets getting go goes going
gonna got had has hasn have haven having he her here hers him his how i if in into is isn it its
just let like ll me more most much my no nor not now of off on only or other our out over re
really s same she should so some such t than that the their them then there these they this those
through to too up us ve very was wasn we well were weren what when where which while who whom
whose why will with would yeah yes you your yours oh hey hi wow thanks thank"""
_GERMAN = """aber als am auch auf aus bei beim bin bis bist da dann das dass dein deine dem den
denn der des dich dir doch du durch ein eine einem einen einer eines er es euch euer fur gegen
habe haben hast hatte hatten ich ihm ihn ihnen ihr ihre im ist ja jetzt kann kein keine konnen
mein meine mich mir mit nach nein nicht noch nur ob oder ohne schon sehr sein seine seit sich sie
sind so soll uber um und uns unser unter vom von vor wann warum was weil welche welcher welches
wem wen wenn wer werden wie wieder wieviel wir wird wo wohin woher wurde wurden zu zum zur"""
_FRENCH = """ai au aux avec avez avons c ce ces cet cette comme d dans de des du elle elles en est
et etait ete eu fait il ils j je l la le les leur leurs lui m ma mais me mes moi mon n ne nos
notre nous on ont ou par pas pour qu quand que quel quelle quelles quels qui s sa sans se ses son
sont sur ta te tes toi ton tu un une vos votre vous y"""
_SPANISH = """al ante aunque como con cual cuales cuando cuanto de del desde donde e el ella ellas
ellos en entre era es esa ese eso esta estaba este esto fue ha han hasta hay la las le les lo los
mas me mi mis muy no nos o para pero por porque que quien se ser si sin sobre su sus te tu tus un
una uno unos y ya yo"""
_ITALIAN = """ad al alla alle allo anche che chi ci come con cosa cui da dal dalla dei del della
delle dello di dove e gli ha hai hanno ho i il in io la le lei lo loro lui ma mi mia mio ne negli
nel nella nelle noi non o per perche piu quale quali quando quanto quello questa questo se si sono
sua sue sul sulla suo ti tra tu un una uno voi"""
_PORTUGUESE = """ao aos as com como da das de dele do dos e ela ele em entre era essa esse esta
este eu foi isso ja lhe mais mas me meu minha muito na nao nas no nos o onde os ou para pela pelo
por qual quando que quem se sem ser seu seus sua suas tem um uma voce"""
_DUTCH = """aan al als bij daar dan dat de deze die dit door een en er haar had heb hebben heeft
hem het hier hij hoe ik in is je jij kan maar me met mij mijn na naar niet nog nu of om onder ons
ook op over te tegen tot u uit van voor waar waarom wanneer waren was wat we wel welke werd wie
wij worden wordt zal ze zich zij zijn zo"""

STOP = frozenset(
    " ".join((_ENGLISH, _GERMAN, _FRENCH, _SPANISH, _ITALIAN, _PORTUGUESE, _DUTCH)).split()
) - frozenset(["die", "war", "hat", "man", "art", "gift"])
